//! Addresses and paths: an accepted address is displayed in a form that is parsed alike, and its
//! mailbox has a canonical name.

use facteur::mail::{
    Address, Charset, Domain, Dots, Grammar, MailboxName, parse_forward_path, parse_reverse_path,
};

/// Parses one text in every way.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    for charset in [Charset::Ascii, Charset::Utf8] {
        for dots in [Dots::BetweenAtoms, Dots::Anywhere] {
            let grammar = Grammar { charset, dots };
            if let Ok(address) = Address::parse(text, grammar) {
                check(&address, charset);
            }
            let localhost = Domain::localhost();
            drop(parse_forward_path(text, grammar, &localhost));
            drop(parse_reverse_path(text, grammar, &localhost));
        }
        if let Ok(domain) = Domain::parse(text, charset)
            && let Ok(a_label) = domain.to_a_label()
        {
            assert!(a_label.is_ascii());
        }
    }
}

/// The displayed form follows the grammar of RFC 5321, wherever dots were accepted.
fn check(address: &Address, charset: Charset) {
    let shown = address.to_string();
    let again = Address::parse(&shown, charset).expect("the displayed form is parsed");
    assert_eq!(again.to_string(), shown);
    let (first, second) = (
        MailboxName::from_address(address),
        MailboxName::from_address(&again),
    );
    assert_eq!(first.is_ok(), second.is_ok());
    if let (Ok(first), Ok(second)) = (first, second) {
        assert_eq!(first, second);
        let canonical = MailboxName::from_canonical(first.local_part(), first.domain());
        assert_eq!(canonical.as_ref(), Some(&first));
    }
}
