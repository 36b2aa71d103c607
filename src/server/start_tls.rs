//! The beginning of TLS in a session: counts and logs it.

use crate::mail::ChannelBindings;

use super::connection::Connection;
use super::handshakes::Handshakes;
use super::maillog;
use super::session::{Interruption, SessionId};

/// Begins TLS on a connection, and logs its version and cipher suite.
pub(super) fn start_tls(
    connection: &mut Connection,
    handshakes: Option<&Handshakes>,
    id: SessionId,
) -> Result<ChannelBindings, Interruption> {
    let handshakes = handshakes.ok_or(Interruption::NoCertificate)?;
    let done = connection.start_tls(handshakes);
    let counters = &connection.counters().tls;
    match &done {
        Ok(()) => counters.done.increment(),
        Err(_) => counters.failed.increment(),
    }
    done?;
    if let Some(tunnel) = connection.tunnel() {
        maillog::tls_began(id, connection.peer(), tunnel.parameters());
    }
    Ok(connection.bindings())
}
