//! An FTP server that other people wrote.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::lab::Host;
use crate::process::Process;
use crate::servers::await_listener;

/// vsftpd on port 21, IPv4 and IPv6, for everybody. It takes files into `in`, and connects from port 20
/// in active mode.
#[derive(Debug)]
pub struct Vsftpd {
    process: Process,
    root: PathBuf,
}

impl Vsftpd {
    /// Starts it on a host and waits until it listens.
    ///
    /// # Panics
    /// If it does not come up.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        let name = host.name();
        let home = host.directory().join(format!("vsftpd-{name}"));
        let (root, empty) = (home.join("root"), home.join("empty"));
        std::fs::create_dir_all(root.join("in")).expect("cannot make vsftpd's directory");
        std::fs::create_dir_all(&empty).expect("cannot make vsftpd's directory");
        // It serves as the user of its package, who has to get there.
        for path in [host.directory(), &home, &root] {
            allow(path, 0o755);
        }
        allow(&root.join("in"), 0o777);
        let config = home.join("vsftpd.conf");
        let text = format!(
            "background=NO\nlisten=NO\nlisten_ipv6=YES\nrun_as_launching_user=NO\n\
             anonymous_enable=YES\nno_anon_password=YES\nanon_root={root}\nftp_username=ftp\n\
             write_enable=YES\nanon_upload_enable=YES\nanon_umask=022\n\
             anon_world_readable_only=NO\nsecure_chroot_dir={empty}\nconnect_from_port_20=YES\n\
             isolate=NO\nisolate_network=NO\nseccomp_sandbox=NO\nuse_localtime=NO\n",
            root = root.display(),
            empty = empty.display()
        );
        std::fs::write(&config, text).expect("cannot write vsftpd's configuration");
        let config = config.display().to_string();
        let mut process = Process::start(
            host.namespace(),
            host.directory(),
            &format!("vsftpd-{name}"),
            &["vsftpd", &config],
        );
        await_listener(&mut process, 21);
        Self { process, root }
    }

    /// The directory whose files it serves; what it is given goes to `in` there.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn allow(path: &Path, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, mode).expect("cannot let others in");
}
