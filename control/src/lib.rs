//! Configuration, controller, REST API.
