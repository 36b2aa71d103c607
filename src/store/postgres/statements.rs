//! Every statement, in one place. (The schema is in `schema.rs`.)
//!
//! Those that change what was promised set `synchronous_commit` and `client_min_messages` for their
//! transaction, because a role may have been given others, and return the names of the synchronous
//! standbys and the time at which the server was started: see `proof.rs`. They do nothing while no
//! standby is named, except in a store that needs none (the parameter `$1`).

use super::connection::Statement;

/// The beginning of statements that change what was promised.
macro_rules! promised {
    () => {
        "with s as materialized (
        select set_config('synchronous_commit', 'on', true),
            set_config('client_min_messages', 'warning', true),
            current_setting('synchronous_standby_names') as names,
            pg_postmaster_start_time() as started)"
    };
}

/// The beginning of statements that need not wait for a standby.
macro_rules! local {
    () => {
        "with s as materialized (select set_config('synchronous_commit', 'local', true))"
    };
}

/// Adds contents, and puts `$messages` into `$mailboxes` if all of these exist.
macro_rules! adds {
    ($mailboxes:literal, $messages:literal) => {
        concat!(
            promised!(),
            ",
    w as materialized (",
            $mailboxes,
            "),
    g as materialized (
        select s.names <> '' or $1::bool as named,
            not exists (select from w where w.id is null) as whole
        from s),
    c as (
        insert into content (name, octets, wire_octets, complete, body)
        select n.name, n.octets, n.wire_octets, true, n.body
        from g, unnest($2::text[], $3::int8[], $4::int8[], $5::bytea[])
            as n (name, octets, wire_octets, body)
        where g.named and g.whole
        on conflict (name) do nothing
        returning name),
    m as (
        insert into message (mailbox, name) ",
            $messages,
            "
        returning 1)
    select (select count(*) from c), (select count(*) from m), g.whole, s.names, s.started
    from s, g"
        )
    };
}

/// Claims the mailbox, by the clock `$now`.
macro_rules! claims {
    ($now:literal) => {
        concat!(
            promised!(),
            ",
    u as (
        update mailbox set token = token + 1, holder = $4::uuid, session = $5::int8
        from s
        where domain = $2::text and local = $3::text and (s.names <> '' or $1::bool)
            and (holder is null or holder = $4::uuid
                or not exists (select from node where node.id = mailbox.holder
                    and node.lease_until > ",
            $now,
            "
                    and node.lease_until <= ",
            $now,
            " + interval '10 seconds'))
        returning id, token)
    select b.id, coalesce(u.token, b.token), u.id is not null, s.names, s.started
    from s, mailbox b left join u on u.id = b.id
    where b.domain = $2::text and b.local = $3::text"
        )
    };
}

/// Removes messages by the claim that `$session` checks further.
macro_rules! removes {
    ($session:literal) => {
        concat!(
            promised!(),
            ",
    r as (
        update mailbox set holder = null from s
        where id = $2::int8 and token = $3::int8 and ",
            $session,
            "
            and (s.names <> '' or $1::bool)
        returning id),
    d as (
        delete from message using r
        where message.mailbox = r.id and message.name = any ($5::text[])
        returning message.name),
    o as (
        update content set orphan_since = clock_timestamp()
        from (select name from content where name in (select name from d)
            for no key update skip locked) as f
        where content.name = f.name)
    select (select count(*) from r), (select count(*) from d), s.names, s.started from s"
        )
    };
}

/// Whether the flushed log is on standbys, from a place in it on: `$1`, or 0 for the place where it
/// ends now. Returns that place, how many have it, the names and the start.
pub(super) const PROOF: Statement = Statement {
    name: "proof",
    text: "with l as materialized (
        select case when $1::int8 = 0 then pg_current_wal_flush_lsn()
            else '0/0'::pg_lsn + $1::int8::numeric end as lsn)
    select (l.lsn - '0/0'::pg_lsn)::int8,
        (select count(*) from pg_stat_replication r
            where r.sync_state in ('sync', 'quorum')
                and r.flush_lsn >= l.lsn and r.sent_lsn >= l.lsn),
        current_setting('synchronous_standby_names'),
        pg_postmaster_start_time()
    from l",
};

/// The timeline of the log: another server that becomes the primary begins another.
pub(super) const TIMELINE: Statement = Statement {
    name: "timeline",
    text: "select substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)",
};

/// Makes a mailbox if it is missing. It is durable when anything after it is, and a delivery finds
/// out if it is not there.
pub(super) const MAKE_MAILBOX: Statement = Statement {
    name: "make_mailbox",
    text: "with s as materialized (select set_config('synchronous_commit', 'off', true))
    insert into mailbox (domain, local) select $1::text, $2::text from s
    on conflict (domain, local) do nothing",
};

/// Delivers messages, each to its mailboxes. A mailbox gets only messages whose content this
/// statement has added: another one has been delivered before, and may have been removed since.
/// Nothing is done if a mailbox is missing.
///
/// Returns how many contents and messages were added, whether every mailbox exists, the names and
/// the start.
const DELIVER: Statement = Statement {
    name: "deliver",
    text: adds!(
        "select b.id, r.name
        from unnest($6::text[], $7::text[], $8::text[]) as r (domain, local, name)
        left join mailbox b on b.domain = r.domain and b.local = r.local",
        "select w.id, w.name from w join c on c.name = w.name"
    ),
};

/// The same without the condition on the content: a planted bug.
#[cfg(test)]
const DELIVER_AGAIN: Statement = Statement {
    name: "deliver_again",
    text: adds!(
        "select b.id, r.name
        from unnest($6::text[], $7::text[], $8::text[]) as r (domain, local, name)
        left join mailbox b on b.domain = r.domain and b.local = r.local",
        "select w.id, w.name from w, g where g.named and g.whole
        on conflict do nothing"
    ),
};

/// Adds parts of a large message, which is not complete yet.
pub(super) const ADD_PARTS: Statement = Statement {
    name: "add_parts",
    text: concat!(
        local!(),
        ",
    c as (
        insert into content (name, octets, wire_octets, complete, orphan_since)
        select $1::text, 0, 0, false, clock_timestamp() from s
        on conflict (name) do update set orphan_since = clock_timestamp()
            where not content.complete)
    insert into part (name, n, octets)
    select $1::text, p.n, p.octets from s, unnest($2::int4[], $3::bytea[]) as p (n, octets)
    on conflict (name, n) do nothing"
    ),
};

/// Completes a large message, `$2`, and delivers it to its mailboxes, unless it was complete
/// before.
///
/// Returns whether this statement has completed it, how many messages were added, whether every
/// mailbox exists, whether it is complete now or was before, the names and the start.
pub(super) const COMPLETE: Statement = Statement {
    name: "complete",
    text: concat!(
        promised!(),
        ",
    w as materialized (
        select b.id
        from unnest($5::text[], $6::text[]) as r (domain, local)
        left join mailbox b on b.domain = r.domain and b.local = r.local),
    g as materialized (
        select s.names <> '' or $1::bool as named,
            not exists (select from w where w.id is null) as whole,
            (select coalesce(sum(octet_length(p.octets)), 0) from part p where p.name = $2::text)
                = $3::int8 as there
        from s),
    c as (
        update content
        set complete = true, octets = $3::int8, wire_octets = $4::int8, orphan_since = null
        from g
        where content.name = $2::text and not content.complete
            and g.named and g.whole and g.there
        returning content.name),
    m as (
        insert into message (mailbox, name) select w.id, c.name from w, c
        returning 1)
    select (select count(*) from c), (select count(*) from m), g.whole,
        exists (select from c)
            or exists (select from content where name = $2::text and complete),
        s.names, s.started
    from s, g"
    ),
};

/// Gives this node a lease of 10 seconds from now, by the clock of the server.
pub(super) const RENEW: Statement = Statement {
    name: "renew",
    text: concat!(
        local!(),
        "
    insert into node (id, name, lease_until)
    select $1::uuid, $2::text, clock_timestamp() + interval '10 seconds' from s
    on conflict (id) do update set lease_until = clock_timestamp() + interval '10 seconds'"
    ),
};

/// Ends the lease of this node, and everything that it holds.
pub(super) const LEAVE: Statement = Statement {
    name: "leave",
    text: concat!(
        local!(),
        ",
    m as (update mailbox set holder = null where holder = $1::uuid)
    delete from node using s where id = $1::uuid"
    ),
};

/// Forgets nodes that have not been there for a day.
pub(super) const FORGET_NODES: Statement = Statement {
    name: "forget_nodes",
    text: "delete from node where lease_until < clock_timestamp() - interval '1 day'",
};

/// How long a session waits for the row of its mailbox, which others change for moments only.
pub(super) const LOCK_TIMEOUT: Statement = Statement {
    name: "lock_timeout",
    text: "select set_config('lock_timeout', '2s', true)",
};

/// Locks the row of a mailbox.
pub(super) const LOCK_MAILBOX: Statement = Statement {
    name: "lock_mailbox",
    text: "select id from mailbox where domain = $1::text and local = $2::text for no key update",
};

/// Claims the mailbox that was locked by the statement before it, if nobody has it whose lease is
/// valid. A lease is valid from now to 10 seconds later and not beyond, because the clocks of two
/// primaries may differ. It must be a statement of its own: it sees what was committed while the
/// one before it waited for the lock.
///
/// Returns, for an existing mailbox, its number, its token, whether it was claimed, the names and
/// the start.
const CLAIM: Statement = Statement {
    name: "claim",
    text: claims!("clock_timestamp()"),
};

/// Locks the mailbox and claims it in one statement: a planted bug.
#[cfg(test)]
const CLAIM_AT_ONCE: Statement = Statement {
    name: "claim_at_once",
    text: "with s as materialized (
        select current_setting('synchronous_standby_names') as names,
            pg_postmaster_start_time() as started),
    l as materialized (
        select id, holder from mailbox where domain = $2::text and local = $3::text
        for no key update),
    u as (
        update mailbox set token = token + 1, holder = $4::uuid, session = $5::int8
        from s, l
        where mailbox.id = l.id and (s.names <> '' or $1::bool)
            and (l.holder is null or l.holder = $4::uuid
                or not exists (select from node where node.id = l.holder
                    and node.lease_until > clock_timestamp()
                    and node.lease_until <= clock_timestamp() + interval '10 seconds'))
        returning mailbox.id, token)
    select b.id, coalesce(u.token, b.token), u.id is not null, s.names, s.started
    from s, mailbox b left join u on u.id = b.id
    where b.domain = $2::text and b.local = $3::text",
};

/// Claims with the clock of the node, `$6` in microseconds: a planted bug.
#[cfg(test)]
const CLAIM_BY_NODE: Statement = Statement {
    name: "claim_by_node",
    text: claims!("to_timestamp($6::int8 / 1e6)"),
};

/// The messages of a mailbox that this session has claimed.
pub(super) const LIST_CLAIMED: Statement = Statement {
    name: "list_claimed",
    text: "select c.name, c.octets, c.wire_octets
    from mailbox b join message m on m.mailbox = b.id join content c on c.name = m.name
    where b.domain = $1::text and b.local = $2::text
        and b.holder = $3::uuid and b.session = $4::int8",
};

/// The messages of a mailbox, for somebody who only looks.
pub(super) const LIST: Statement = Statement {
    name: "list",
    text: "select c.name, c.octets, c.wire_octets
    from mailbox b join message m on m.mailbox = b.id join content c on c.name = m.name
    where b.domain = $1::text and b.local = $2::text",
};

/// Removes messages from the mailbox that this session has claimed, and ends the claim. Once the
/// last mailbox has lost it, content waits an hour to be removed.
///
/// Returns whether the session still had the mailbox, how many were removed, the names and the
/// start.
const REMOVE: Statement = Statement {
    name: "remove",
    text: removes!("session = $4::int8"),
};

/// The same without the number of the session: a planted bug.
#[cfg(test)]
const REMOVE_BY_TOKEN: Statement = Statement {
    name: "remove_by_token",
    text: removes!("$4::int8 is not null"),
};

/// Ends the claims of sessions that have ended, by their random numbers. A mailbox whose row is
/// locked is left for later: its session may be one of those, whose claim is not committed yet.
///
/// Returns what was left.
pub(super) const RELEASE: Statement = Statement {
    name: "release",
    text: concat!(
        local!(),
        ",
    x as materialized (
        select * from unnest($2::text[], $3::text[], $4::int8[]) as r (domain, local, session)),
    f as materialized (
        select b.id, b.holder, b.session, x.session as ended
        from x join mailbox b on b.domain = x.domain and b.local = x.local
        for no key update of b skip locked),
    u as (
        update mailbox set holder = null from s, f
        where mailbox.id = f.id and f.holder = $1::uuid and f.session = f.ended)
    select x.domain, x.local, x.session
    from x join mailbox b on b.domain = x.domain and b.local = x.local
    where b.id not in (select id from f)"
    ),
};

/// The claims of a node, except those of these sessions; 10,000 at a time.
pub(super) const CLAIMS: Statement = Statement {
    name: "claims",
    text: "select domain, local, session from mailbox
    where holder = $1::uuid
        and not exists (select from unnest($2::int8[]) as l (session)
            where l.session = mailbox.session)
    limit 10000",
};

/// The body of a message that is in a mailbox, NULL if it is in parts, and its octets.
pub(super) const READ: Statement = Statement {
    name: "read",
    text: "select c.octets, c.body
    from mailbox b join message m on m.mailbox = b.id join content c on c.name = m.name
    where b.domain = $1::text and b.local = $2::text and m.name = $3::text",
};

/// One part of a message.
pub(super) const READ_PART: Statement = Statement {
    name: "read_part",
    text: "select octets from part where name = $1::text and n = $2::int8::int4",
};

/// The state of a mailbox: how many messages it has, and a sum over their names, which are never
/// used twice.
pub(super) const STAMP: Statement = Statement {
    name: "stamp",
    text: "select count(*), coalesce(bit_xor(hashtextextended(m.name, 0)), 0)::int8
    from mailbox b join message m on m.mailbox = b.id
    where b.domain = $1::text and b.local = $2::text",
};

/// Whether a mailbox exists.
pub(super) const HAS_MAILBOX: Statement = Statement {
    name: "has_mailbox",
    text: "select exists (select from mailbox where domain = $1::text and local = $2::text)",
};

/// The domains of mailboxes with this local part, two at most.
pub(super) const WITH_LOCAL_PART: Statement = Statement {
    name: "with_local_part",
    text: "select domain from mailbox where local = $1::text order by domain limit 2",
};

/// The mailboxes behind one in their order, a thousand at most.
pub(super) const MAILBOXES: Statement = Statement {
    name: "mailboxes",
    text: "select domain, local from mailbox where (domain, local) > ($1::text, $2::text)
    order by domain, local limit 1000",
};

/// Tells the other nodes something.
pub(super) const TELL: Statement = Statement {
    name: "tell",
    text: "select pg_notify('facteur', $1::text)",
};

/// Whether each of these messages is in its mailbox, in their order.
pub(super) const WHICH_ARE_THERE: Statement = Statement {
    name: "which_are_there",
    text: "select exists (
        select from mailbox b join message m on m.mailbox = b.id
        where b.domain = r.domain and b.local = r.local and m.name = r.name)
    from unnest($1::text[], $2::text[], $3::text[])
        with ordinality as r (domain, local, name, position)
    order by r.position",
};

/// Notes content that no mailbox has, where a removal could not.
pub(super) const FIND_ORPHANS: Statement = Statement {
    name: "find_orphans",
    text: "update content set orphan_since = clock_timestamp()
    where complete and orphan_since is null
        and not exists (select from message where message.name = content.name)",
};

/// Removes content that has waited long enough, some of it at a time. The references from messages
/// hold against this. Returns how much was removed.
pub(super) const REMOVE_ORPHANS: Statement = Statement {
    name: "remove_orphans",
    text: "with f as materialized (
        select name from content
        where orphan_since < clock_timestamp() - interval '1 hour'
            and (complete or orphan_since < clock_timestamp() - interval '1 day')
            and not exists (select from message where message.name = content.name)
        limit 500
        for update skip locked),
    c as (delete from content using f where content.name = f.name returning content.name),
    p as (delete from part using c where part.name = c.name)
    select count(*) from c",
};

/// Whether another node serves these mailboxes.
pub(super) const OTHER_NODES: Statement = Statement {
    name: "other_nodes",
    text: "select exists (
        select from node where id <> $1::uuid and lease_until > clock_timestamp())",
};

/// The contents with these names that are there, each whether it is complete, its octets, and its
/// body, NULL if it is in parts.
pub(super) const CONTENTS: Statement = Statement {
    name: "contents",
    text: "select name, complete, octets, body from content where name = any ($1::text[])",
};

/// Removes parts of a message that were sent by a move that did not come to its end.
pub(super) const DROP_PARTS: Statement = Statement {
    name: "drop_parts",
    text: "with c as (delete from content where name = $1::text and not complete returning name)
    delete from part using c where part.name = c.name",
};

/// Puts messages that were moved here into their mailboxes. Contents and messages that are there
/// already stay: whoever uses this has compared them.
///
/// Returns how many contents and messages were added, whether every mailbox exists, the names and
/// the start.
pub(super) const BRING: Statement = Statement {
    name: "bring",
    text: adds!(
        "select b.id, r.name
        from unnest($8::text[]) as r (name)
        left join mailbox b on b.domain = $6::text and b.local = $7::text",
        "select w.id, w.name from w, g where g.named and g.whole
        on conflict do nothing"
    ),
};

/// Delivers messages: [`DELIVER`].
pub(super) fn deliver() -> &'static Statement {
    planted!(DeliveriesAreRepeated, return &DELIVER_AGAIN);
    &DELIVER
}

/// Claims a mailbox: [`CLAIM`].
pub(super) fn claim() -> &'static Statement {
    planted!(ClaimsAreOneStatement, return &CLAIM_AT_ONCE);
    planted!(LeasesGoByTheNodesClock, return &CLAIM_BY_NODE);
    &CLAIM
}

/// Removes messages: [`REMOVE`].
pub(super) fn remove() -> &'static Statement {
    planted!(SessionsAreNotChecked, return &REMOVE_BY_TOKEN);
    &REMOVE
}

/// All of them.
pub(super) const ALL: &[&Statement] = &[
    &PROOF,
    &TIMELINE,
    &MAKE_MAILBOX,
    &DELIVER,
    &ADD_PARTS,
    &COMPLETE,
    &RENEW,
    &LEAVE,
    &FORGET_NODES,
    &LOCK_TIMEOUT,
    &LOCK_MAILBOX,
    &CLAIM,
    &LIST_CLAIMED,
    &LIST,
    &REMOVE,
    &RELEASE,
    &CLAIMS,
    &READ,
    &READ_PART,
    &STAMP,
    &HAS_MAILBOX,
    &WITH_LOCAL_PART,
    &MAILBOXES,
    &TELL,
    &WHICH_ARE_THERE,
    &FIND_ORPHANS,
    &REMOVE_ORPHANS,
    &OTHER_NODES,
    &CONTENTS,
    &DROP_PARTS,
    &BRING,
    #[cfg(test)]
    &DELIVER_AGAIN,
    #[cfg(test)]
    &CLAIM_AT_ONCE,
    #[cfg(test)]
    &CLAIM_BY_NODE,
    #[cfg(test)]
    &REMOVE_BY_TOKEN,
];
