//! Tests of POP3 sessions whose maildrop is in a database.

use std::time::Duration;

use crate::{
    clock::look_again,
    mail::MailboxName,
    store::{Access, Database, Secrets},
    testing::postgres::shared,
};

use super::{client::Client, overload::House};

/// A session ends with its next command when its node has lost its lease, even for a moment.
#[test]
fn a_session_ends_when_another_may_have_its_maildrop() {
    let database = shared().new_database();
    let access = Access::parse(&shared().access(&database), Secrets::default()).unwrap();
    let house = House::open_with(|settings| {
        settings.database = Some(Database {
            access,
            is_single: true,
        });
    });
    let bob = MailboxName::from_canonical("bob", "example.com").unwrap();
    let mut delivery = house.store.begin_delivery(0).unwrap();
    delivery.append(b"a\n").unwrap();
    delivery.commit(std::slice::from_ref(&bob)).unwrap();
    let log_in = || {
        let mut client = Client::connect(house.pop3, "+OK ");
        client.ask("USER bob@example.com", "+OK");
        client.ask("PASS secret", "+OK");
        client.ask("STAT", "+OK 1 ");
        client
    };
    let mut client = log_in();
    house.hands.pass(Duration::from_secs(8));
    client.ask("NOOP", "-ERR [SYS/TEMP] Another session may have");
    client.expect_end();
    // The housekeeping renews the lease.
    while house.store.open_maildrop(&bob).is_err() {
        look_again();
    }
    log_in().ask("QUIT", "+OK");
}
