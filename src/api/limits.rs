//! Every limit of the API, each with its reason.

use std::time::Duration;

use crate::inbox::Rest;

/// How many messages a list has if the request does not say: as in Mailpit.
pub const PAGE_DEFAULT: usize = 50;

/// Most messages of one list: some 600 KiB of JSON. A client asks for the next ones with `start`.
pub const PAGE_MAX: usize = 1_000;

/// How long a call waits for a message if it does not say: a sign-up mail takes less.
pub const WAIT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Longest wait of one call. Proxies and clients end requests that take longer; who wants to wait
/// longer asks again.
pub const WAIT_TIMEOUT_MAX: Duration = Duration::from_mins(1);

/// From when on messages count if a call does not say. The message that a test waits for has often
/// arrived already when it asks; the one of an earlier run is older.
pub const WAIT_SINCE_DEFAULT: Duration = Duration::from_mins(10);

/// Most messages that one call waits for.
pub const WAIT_COUNT_MAX: usize = 100;

/// Most messages that one call looks at: it remembers each of them, in some 40 octets.
pub const WAIT_MESSAGES_MAX: usize = 16_384;

/// How much earlier than a cursor a message of another program may have arrived and still count, in
/// seconds: it has its time before it has its place in the mailbox.
pub const FOREIGN_SLACK_SECONDS: u64 = 2;

/// How often something is sent over a silent stream of events, so that proxies do not end it.
pub const HEARTBEAT: Duration = Duration::from_secs(15);

/// How many changes a stream reports one by one at once: what a test sends in a moment.
pub const EVENTS_BURST: usize = 500;

/// How many changes it reports one by one in the long run. More are one event that says so: nobody
/// reads them one by one, and 64 streams that repeat each of 10,000 deliveries a second would leave
/// no time to deliver.
pub const EVENTS_PER_SECOND: usize = 100;

/// How long a stream rests after more changes than that.
pub const EVENTS_REST: Duration = Duration::from_secs(1);

/// How often a wait or a stream looks for what other programs have done.
pub const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Of how many addresses one call remembers where they lead: those of the messages of one page.
pub const RESOLVED_MAX: usize = 16_384;

/// Most messages that one search compares: those that people look for are new.
pub const SEARCHED_MAX: usize = 20_000;

/// How many messages, the newest, a search compares before it goes on to older ones.
pub const SEARCH_PART: usize = 512;

/// How many times as long each further part is. In each part a mailbox is looked at once, so few
/// and long parts cost the least.
pub const SEARCH_PART_GROWTH: usize = 8;

/// How long a search compares messages before it looks how much mail has arrived meanwhile.
pub const SEARCH_TURN: Duration = Duration::from_millis(1);

/// How long a search rests after such a turn, for each message that came during the turn and the
/// rest before it. Beside 200 messages a second it takes twice as long; from 400 on, each rest is
/// longer than the one before, until hardly anything is left of the search. A thread that wakes up
/// to accept mail may have to wait for the end of a time slice of a busy one, whatever its
/// priority.
pub const SEARCH_REST: Rest = Rest {
    each_change: Duration::from_micros(2_500),
    times: 40,
    longest: Duration::from_millis(400),
};

/// Longest search. It may read every message from the disk, and people do not wait longer.
pub const SEARCH_TIME: Duration = Duration::from_secs(2);

/// How often the removal of all messages leaves out mailboxes that are in use: those that come into
/// use while it waits for others. Each attempt waits as long as the store does.
pub const REMOVAL_ATTEMPTS: usize = 3;

/// How many octets of text and HTML the answer to a wait for several messages has. JSON can take
/// six times as much, and a browser or a test waits for small messages.
pub const WAIT_OCTETS_MAX: usize = 4 * 1_024 * 1_024;

/// How many answers with whole messages are made at the same time (SEC-9). One needs up to some
/// 30 MiB for a moment, with text that is only control characters, and a few milliseconds; others
/// wait for their turn.
pub const MAKERS_MAX: usize = 4;

/// How many mailboxes a refusal names: more fit on no screen.
pub const NAMED_MAX: usize = 20;

/// How many octets of bodies, and of headers of parts, a list or a message in the shape of
/// `MailHog` has, because it has all of them. The messages that do not fit are for the next list.
pub const LISTED_OCTETS_MAX: usize = 2 * 1_024 * 1_024;

/// Longest header section of a part that is read: as of a message.
pub const PART_HEADER_OCTETS_MAX: usize = 64 * 1_024;

/// Most pictures of a message that are looked at for its HTML: newsletters have some 50. Each is
/// read once to see how large it is.
pub const PICTURES_MAX: usize = 200;

/// Most recipients of a message that is sent over HTTP, before the limit of the configuration is
/// asked: a body has room for some more.
pub const RECIPIENTS_MAX: usize = 10_000;

/// Most fields of an object in the body of a request: more than any has that makes sense.
pub const BODY_FIELDS_MAX: usize = 200;

/// Most tags of a message that is sent over HTTP, which are read and forgotten.
pub const TAGS_MAX: usize = 1_000;

/// Most further fields of a message that is sent over HTTP: programs set five.
pub const FIELDS_MAX: usize = 100;

/// Longest name of such a field in octets: it fits into a line with a word behind it.
pub const FIELD_NAME_OCTETS_MAX: usize = 70;

/// Most files of a message that is sent over HTTP: fewer than the parts that the inbox shows.
pub const ATTACHMENTS_MAX: usize = 200;

/// Longest name of such a file in octets: file systems allow 255.
pub const FILE_NAME_OCTETS_MAX: usize = 255;

/// Longest name by which the HTML shows such a file: most have ten octets.
pub const CONTENT_ID_OCTETS_MAX: usize = 255;
