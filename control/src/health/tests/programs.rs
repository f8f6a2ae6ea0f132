//! Servers to check: nginx, OpenSSL, dnsmasq; and threads that answer with what they are told to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::wait_for;

/// A port that nothing listens on at the moment.
pub(super) fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

/// A program that ends with the test.
pub(super) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Program {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = quiet.spawn();
    Program(child.unwrap_or_else(|why| panic!("{command:?}: {why}; `make setup` installs it")))
}

fn await_listener(port: u16) {
    wait_for("a listener", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
}

/// A certificate for www.example.com and its key, in PEM files.
pub(super) fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let names = vec!["www.example.com".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("room");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("room");
    (certificate, key)
}

/// nginx: `/health` says `ready` to www.example.com only, `/broken` is 503, `/moved` is 301.
pub(super) fn nginx(directory: &Path, plain: u16, secure: u16) -> Program {
    let (certificate, key) = certificate(directory);
    let (certificate, key) = (certificate.display(), key.display());
    let home = directory.display();
    let locations = "location /health { if ($host != www.example.com) { return 404; } \
                     return 200 \"all is ready\\n\"; }\n\
                     location /broken { return 503; }\nlocation /moved { return 301 /; }\n";
    let text = format!(
        "daemon off;\nworker_processes 1;\npid {home}/pid;\nevents {{ }}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;\n\
         uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
         server {{ listen 127.0.0.1:{plain};\n{locations} }}\n\
         server {{ listen 127.0.0.1:{secure} ssl;\nssl_certificate {certificate};\n\
         ssl_certificate_key {key};\n{locations} }}\n}}\n"
    );
    let config = directory.join("nginx.conf");
    std::fs::write(&config, text).expect("room");
    let program = start(
        Command::new("nginx")
            .args(["-e", "stderr", "-p"])
            .arg(directory)
            .arg("-c")
            .arg(&config),
    );
    await_listener(plain);
    await_listener(secure);
    program
}

/// OpenSSL's server, TLS 1.2 and nothing newer.
pub(super) fn openssl(directory: &Path, port: u16) -> Program {
    let (certificate, key) = certificate(directory);
    let program = start(
        Command::new("openssl")
            .args([
                "s_server",
                "-quiet",
                "-tls1_2",
                "-accept",
                &format!("127.0.0.1:{port}"),
            ])
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(key),
    );
    await_listener(port);
    program
}

/// dnsmasq, which knows www.example.com as 192.0.2.1 and refuses to speak of all else.
pub(super) fn dnsmasq(port: u16) -> Program {
    let program = start(Command::new("dnsmasq").args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--no-resolv",
        "--no-hosts",
        "--user=",
        "--address=/www.example.com/192.0.2.1",
        &format!("--port={port}"),
    ]));
    await_listener(port);
    program
}

/// Echoes datagrams in upper case, until the test ends.
pub(super) fn shouting_echo() -> u16 {
    echo(|datagram| datagram.make_ascii_uppercase())
}

/// Sends datagrams back with a change, until the test ends.
pub(super) fn echo(change: fn(&mut [u8])) -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            change(&mut buffer[..length]);
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    port
}

/// Gives every connection to `serve`, each on a thread of its own, until the test ends.
pub(super) fn listener(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers what it is sent with this, and closes.
pub(super) fn answers(answer: &'static [u8]) -> u16 {
    listener(move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
    })
}

/// Takes connections, and never says anything.
pub(super) fn hangs() -> u16 {
    listener(|mut stream| {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink);
    })
}

/// Takes connections and resets them.
pub(super) fn resets() -> u16 {
    listener(|stream| {
        let socket = socket2::Socket::from(stream);
        let _ = socket.set_linger(Some(std::time::Duration::ZERO));
    })
}
