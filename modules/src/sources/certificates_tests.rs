//! Certificates for tests of encrypted connections, made by `openssl`.

use std::path::Path;
use std::process::Command;

/// Makes `ca`, an authority; `server`, signed by it for `localhost` and 127.0.0.1; `own`, signed by itself for `localhost`:
/// each a `.crt` and a `.key`.
pub fn certificates(dir: &Path) {
    let script = r#"set -e
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt
        openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
        printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > ext
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.crt
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout own.key -out own.crt
        chmod 600 *.key"#;
    let output = Command::new("sh").args(["-c", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}
