//! Getting in: the protocol's first messages, and passwords, which are proved and never sent.

use super::connect::Address;
use super::error::PostgresError;
use super::wire::{Session, out_of_turn, senseless};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;

/// Who asks for what.
#[derive(Clone, Copy)]
pub(super) struct Login<'l> {
    /// Who.
    pub user: &'l str,
    /// In which database.
    pub database: &'l str,
    /// The password, if there is one.
    pub password: Option<&'l [u8]>,
}

impl Session<'_> {
    /// Logs in, and hears what the server is.
    pub(super) fn log_in(&mut self, address: &Address, login: Login<'_>) -> Result<(), PostgresError> {
        let about = [("user", login.user), ("database", login.database), ("application_name", "dedup")];
        frontend::startup_message(about, &mut self.output).map_err(senseless)?;
        self.send()?;
        let mut scram: Option<ScramSha256> = None;
        let password = || {
            let missing = || PostgresError::NoPassword { place: address.show(), user: login.user.to_owned() };
            login.password.ok_or_else(missing)
        };
        let no_way = |method| PostgresError::NoWayIn { place: address.show(), method };
        loop {
            match self.message()? {
                Message::AuthenticationOk | Message::BackendKeyData(_) => {}
                Message::ParameterStatus(status) => {
                    let value = status.value().map_err(senseless)?;
                    match status.name().map_err(senseless)? {
                        "server_version" => {
                            value.split(' ').next().unwrap_or_default().clone_into(&mut self.version);
                        }
                        "server_encoding" => self.has_raw_text = value == "SQL_ASCII",
                        _ => {}
                    }
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationMd5Password(body) => {
                    let answer = md5_hash(login.user.as_bytes(), password()?, body.salt());
                    frontend::password_message(answer.as_bytes(), &mut self.output).map_err(senseless)?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut methods = body.mechanisms();
                    let mut known = false;
                    while let Some(method) = methods.next().map_err(senseless)? {
                        known |= method == SCRAM_SHA_256;
                    }
                    if !known {
                        return Err(no_way("a SASL method other than SCRAM-SHA-256"));
                    }
                    let begun = ScramSha256::new(password()?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut self.output)
                        .map_err(senseless)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let begun = scram.as_mut().ok_or_else(|| out_of_turn("SASL"))?;
                    begun.update(body.data()).map_err(senseless)?;
                    frontend::sasl_response(begun.message(), &mut self.output).map_err(senseless)?;
                }
                // Whoever cannot prove that it knows the password, too, is not the server.
                Message::AuthenticationSaslFinal(body) => {
                    let begun = scram.as_mut().ok_or_else(|| out_of_turn("SASL"))?;
                    begun.finish(body.data()).map_err(senseless)?;
                }
                Message::AuthenticationCleartextPassword => {
                    return Err(no_way("the password in clear"));
                }
                Message::AuthenticationGss
                | Message::AuthenticationSspi
                | Message::AuthenticationKerberosV5 => {
                    return Err(no_way("Kerberos"));
                }
                _ => return Err(out_of_turn("the login")),
            }
            self.send()?;
        }
    }
}
