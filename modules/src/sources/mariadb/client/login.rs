//! How a session begins.

use super::super::super::tls::Tls;
use super::error::{ClientError, said};
use super::fields::Fields;
use super::packet::Wire;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The only version of the protocol there is.
const PROTOCOL: u8 = 10;
/// What a server must be capable of: the form of packets since 4.1, and passwords that are not sent.
const NEEDED: u32 = 0x0000_8200;
/// What we are: those, long flags of columns, states of transactions, ways in by name. Not files of ours, not several
/// statements at once.
const CAPABILITIES: u32 = NEEDED | 0x0008_2005;
/// Encryption: that a server can, and that it is to begin.
const TLS: u32 = 0x0000_0800;
/// `utf8mb4_general_ci`.
const CHARSET: u8 = 45;
/// Longest packet that we take.
const MAX_PACKET: u32 = 1 << 30;
/// Most packets of one login.
const MAX_ROUNDS: usize = 8;
/// Bytes of what a password is mixed with.
const NONCE: usize = 20;

const NATIVE: &[u8] = b"mysql_native_password";
const SHA2: &[u8] = b"caching_sha2_password";

/// Reads the server's greeting and logs in, over TLS as the endpoint has it.
pub(super) fn log_in(
    wire: &mut Wire<'_>,
    user: &str,
    password: &[u8],
    tls: Option<(&Tls, &str)>,
) -> Result<(), ClientError> {
    let Greeting { mut nonce, mut plugin, has_tls } = greeting(wire.packet()?)?;
    let tls = tls.filter(|(tls, _)| tls.wanted != Some(false));
    let mut capabilities = CAPABILITIES;
    match tls {
        Some((tls, _)) if !has_tls && tls.wanted == Some(true) => return Err(ClientError::NoTls),
        Some((tls, host)) if has_tls => {
            capabilities |= TLS;
            wire.answer(&head(capabilities), b"")?;
            wire.encrypt(tls, host)?;
        }
        _ => {}
    }
    // Whoever it is for, another way in is asked for in the next packet.
    if plugin != SHA2 {
        plugin = NATIVE.to_vec();
    }
    let first = proof(&plugin, &nonce, password)?;
    let mut packet = Zeroizing::new(Vec::new());
    packet.extend_from_slice(&head(capabilities));
    packet.extend(user.bytes().filter(|byte| *byte != 0));
    // A proof has at most 32 bytes.
    packet.extend_from_slice(&[0, first.len() as u8]);
    packet.extend_from_slice(&first);
    packet.extend_from_slice(&plugin);
    packet.push(0);
    wire.answer(&packet, b"")?;
    for _ in 0..MAX_ROUNDS {
        let packet = wire.packet()?;
        let mut fields = Fields::new(packet);
        match (fields.u8()?, packet.get(1)) {
            (0x00, _) => return Ok(()),
            (0xff, _) => return Err(ClientError::Said(said(packet)?)),
            (0xfe, None) => return Err(ClientError::Plugin("mysql_old_password".into())),
            (0xfe, _) => {
                plugin = fields.until_zero().to_vec();
                nonce = nonce_of(fields.rest());
                let proof = proof(&plugin, &nonce, password)?;
                wire.answer(&proof, b"")?;
            }
            // It knew the proof.
            (0x01, Some(3)) if plugin == SHA2 => {}
            // It must see the password itself.
            (0x01, Some(4)) if plugin == SHA2 => {
                if !wire.is_known() {
                    return Err(ClientError::Clear);
                }
                let mut clear = Zeroizing::new(password.to_vec());
                clear.push(0);
                wire.answer(&clear, b"")?;
            }
            _ => return Err(ClientError::Broken("a login of an unknown form")),
        }
    }
    Err(ClientError::Broken("a login without an end"))
}

/// Returns what a login begins with; alone it asks for encryption.
fn head(capabilities: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(32);
    head.extend_from_slice(&capabilities.to_le_bytes());
    head.extend_from_slice(&MAX_PACKET.to_le_bytes());
    head.push(CHARSET);
    head.extend_from_slice(&[0; 23]);
    head
}

/// What a server says first.
struct Greeting {
    /// What the password is mixed with, and how.
    nonce: Vec<u8>,
    plugin: Vec<u8>,
    has_tls: bool,
}

fn greeting(packet: &[u8]) -> Result<Greeting, ClientError> {
    let mut fields = Fields::new(packet);
    match fields.u8()? {
        0xff => return Err(ClientError::Said(said(packet)?)),
        PROTOCOL => {}
        other => return Err(ClientError::Protocol(other)),
    }
    // Its version, and the number of the session.
    fields.until_zero();
    fields.take(4)?;
    let mut nonce = fields.take(8)?.to_vec();
    fields.take(1)?;
    let low = fields.u16()?;
    // Character set and state.
    fields.take(3)?;
    let capabilities = u32::from(low) | u32::from(fields.u16()?) << 16;
    if capabilities & NEEDED != NEEDED {
        return Err(ClientError::Protocol(PROTOCOL - 1));
    }
    let len = usize::from(fields.u8()?);
    fields.take(10)?;
    nonce.extend_from_slice(fields.take(len.saturating_sub(8).max(13))?);
    let plugin = fields.until_zero().to_vec();
    Ok(Greeting { nonce: nonce_of(&nonce), plugin, has_tls: capabilities & TLS != 0 })
}

/// Cuts or fills what a password is mixed with to its length.
fn nonce_of(bytes: &[u8]) -> Vec<u8> {
    let mut nonce = bytes.to_vec();
    nonce.resize(NONCE, 0);
    nonce
}

/// Proves that the password is known.
fn proof(plugin: &[u8], nonce: &[u8], password: &[u8]) -> Result<Vec<u8>, ClientError> {
    if password.is_empty() {
        return Ok(Vec::new());
    }
    let mixed = |own: &[u8], other: &[u8]| own.iter().zip(other).map(|(a, b)| a ^ b).collect();
    match plugin {
        NATIVE => {
            let once = Sha1::digest(password);
            let known = Sha1::new().chain_update(nonce).chain_update(Sha1::digest(once)).finalize();
            Ok(mixed(&once, &known))
        }
        SHA2 => {
            let once = Sha256::digest(password);
            let known = Sha256::new().chain_update(Sha256::digest(once)).chain_update(nonce).finalize();
            Ok(mixed(&once, &known))
        }
        other => Err(ClientError::Plugin(String::from_utf8_lossy(other).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of a real server's conversation, as `mysql_common` tests them.
    #[test]
    fn passwords_are_mixed_as_servers_do() {
        let nonce = b"NR3HP:qIYa_9=db?Sd{`";
        let native = proof(NATIVE, nonce, b"G!ider27").unwrap();
        assert_eq!(
            native,
            [
                0x09, 0xcf, 0xf8, 0x85, 0x5e, 0x9e, 0x70, 0x53, 0x40, 0xff, 0x22, 0x70, 0xd8, 0xfb, 0x9f,
                0xad, 0xba, 0x90, 0x6b, 0x70
            ]
        );
        let sha2 = proof(SHA2, nonce, b"G!ider27").unwrap();
        assert_eq!(
            sha2,
            [
                0x4f, 0x97, 0xbb, 0xfd, 0x20, 0x24, 0x01, 0xc4, 0x2a, 0x69, 0xde, 0xaa, 0xe5, 0x3b, 0xda,
                0x07, 0x7e, 0xd7, 0x57, 0x85, 0x63, 0xc1, 0xa8, 0x0e, 0xb8, 0x16, 0xc8, 0x21, 0x19, 0xb6,
                0x8d, 0x2e
            ]
        );
        assert!(proof(NATIVE, nonce, b"").unwrap().is_empty());
        let other = proof(b"client_ed25519", nonce, b"p").unwrap_err();
        assert!(other.to_string().contains("by client_ed25519 only"), "{other}");
    }
}
