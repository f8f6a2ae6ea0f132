//! Sluice between real hosts; one module a subject.
