//! The control thread: controller and REST API on one runtime, away from the workers' cores.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::api;
use crate::config::Source;
use crate::controller::{
    Action, ActionError, Change, Committed, Controller, Duty, Handle, Outcome, PeerState, Target,
    Terms, What,
};
use crate::security::{Audit, Record, Security};

/// A running control thread. Stops when dropped.
#[derive(Debug)]
pub struct Service {
    handle: Handle,
    audit: Arc<Audit>,
    config: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts the thread; it inherits the caller's cores. `listener` comes from [`api::bind`],
    /// `security` stands at the API's door, `config` is the file that [`Service::reload`] reads.
    ///
    /// # Errors
    /// If the system has no thread or no event queue to give.
    pub fn start(
        controller: Controller,
        listener: TcpListener,
        security: Security,
        config: &Path,
    ) -> io::Result<Self> {
        let (handle, requests) = Handle::new();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let tls = security.tls.clone();
        let audit = Arc::clone(&security.audit);
        let controller = controller.with_audit(Arc::clone(&audit));
        let events = controller.events().clone();
        let logs = controller.logs().clone();
        let router = api::router(handle.clone(), events, logs, security);
        let thread = std::thread::Builder::new().name("sluice-control".to_owned());
        let thread = thread.spawn(move || {
            runtime.block_on(async {
                tokio::spawn(async {
                    if let Err(error) = api::serve(listener, router, tls).await {
                        tracing::error!(%error, "the API does not run");
                    }
                });
                tokio::select! {
                    () = controller.run(requests) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            handle,
            audit,
            config: config.to_owned(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The way to the controller.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Reads the configuration file again and uses it, as SIGHUP asks for. What came of it is logged,
    /// a line for everything that is wrong, and written into the audit log.
    ///
    /// # Errors
    /// [`ActionError`]; the configuration in use is kept.
    pub fn reload(&self) -> Result<Committed, ActionError> {
        let outcome = Source::file(&self.config)
            .map_err(ActionError::Config)
            .and_then(|source| {
                let terms = Terms {
                    author: "SIGHUP".to_owned(),
                    comment: format!("read from {}", self.config.display()),
                    ..Terms::default()
                };
                let change = Change {
                    what: What::Replace(source),
                    target: Target::Running,
                    terms,
                };
                self.handle.call_blocking(Action::Change(Box::new(change)))
            });
        let status = match &outcome {
            Ok(Outcome::Committed(committed)) if !committed.in_force => 202,
            Ok(_) => 200,
            Err(why) => api::Problem::from(why.clone()).status,
        };
        let file = self.config.display().to_string();
        let record = Record::new("SIGHUP", String::new(), "RELOAD", &file, status);
        self.audit.done(record);
        match outcome {
            Ok(Outcome::Committed(committed)) => {
                if !committed.in_force {
                    tracing::warn!(
                        epoch = committed.epoch,
                        "not all workers have taken the new configuration yet"
                    );
                }
                Ok(*committed)
            }
            Ok(_) => Err(ActionError::Stopped),
            Err(why) => {
                for line in why.to_string().lines() {
                    tracing::error!("{line}");
                }
                tracing::error!("the configuration in use was kept");
                Err(why)
            }
        }
    }

    /// Gives everything to the other appliance, if there is one that can have it, and waits until it
    /// has; no longer than `patience`. Then this node can be stopped, and no packet is lost.
    pub fn hand_over(&self, patience: Duration) {
        if !matches!(
            self.handle.call_blocking(Action::Ha),
            Ok(Outcome::Ha(Some(_)))
        ) {
            return;
        }
        if let Err(why) = self
            .handle
            .call_blocking(Action::Handover(Duty::Maintenance))
        {
            tracing::info!("nothing is handed over: {why}");
            return;
        }
        let end = Instant::now() + patience;
        while Instant::now() < end {
            match self.handle.call_blocking(Action::Ha) {
                Ok(Outcome::Ha(Some(ha))) if ha.away => {
                    tracing::info!("other appliances have everything");
                    return;
                }
                Ok(Outcome::Ha(Some(ha)))
                    if ha.peers.iter().any(|peer| peer.state != PeerState::Dead) => {}
                _ => return,
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        tracing::warn!("other appliances did not take everything in time");
    }

    /// Stops the thread and waits for it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread ended by a panic");
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}
