//! Server-sent events (HTML §9.2): a stream of texts that a page receives as they happen.

/// A comment, which keeps proxies and the client from ending a silent connection.
pub const HEARTBEAT: &[u8] = b":\n\n";

/// Appends one event: its id, from which a client resumes with Last-Event-ID, its name and its
/// data. The data may have several lines. Line breaks and NUL in the other two, with which an event
/// could pretend to be another one, become spaces.
pub fn render(id: &str, event: &str, data: &str, out: &mut Vec<u8>) {
    for (field, value) in [("id", id), ("event", event)] {
        let one_line = value.replace(['\r', '\n', '\0'], " ");
        line(field, &one_line, out);
    }
    let mut rest = data;
    while let Some((text, more)) = rest.split_once(['\r', '\n']) {
        line("data", text, out);
        // CRLF is one ending.
        let is_pair = rest
            .get(text.len()..)
            .is_some_and(|it| it.starts_with("\r\n"));
        rest = if is_pair {
            more.get(1..).unwrap_or_default()
        } else {
            more
        };
    }
    line("data", rest, out);
    out.push(b'\n');
}

fn line(field: &str, value: &str, out: &mut Vec<u8>) {
    for part in [field, ": ", value, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(id: &str, event: &str, data: &str) -> String {
        let mut out = Vec::new();
        render(id, event, data, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What a browser makes of a stream, by the algorithm of HTML §9.2.6.
    fn understood(stream: &str) -> Vec<(String, String, String)> {
        let mut events = Vec::new();
        let (mut id, mut event, mut data) = (String::new(), String::new(), String::new());
        for line in stream.replace("\r\n", "\n").split(['\r', '\n']) {
            if line.is_empty() && !data.is_empty() {
                data.pop();
                events.push((id.clone(), event.clone(), data.clone()));
                data.clear();
                event.clear();
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => value.clone_into(&mut id),
                "event" => value.clone_into(&mut event),
                "data" => data.extend([value, "\n"]),
                _ => {}
            }
        }
        events
    }

    #[test]
    fn an_event_has_an_id_a_name_and_lines_of_data() {
        for (data, lines) in [
            ("", "data: \n"),
            ("a", "data: a\n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\r\nb\rc", "data: a\ndata: b\ndata: c\n"),
            ("a\n\r\nb\n", "data: a\ndata: \ndata: b\ndata: \n"),
            (" a", "data:  a\n"),
        ] {
            let expect = format!("id: 7\nevent: arrived\n{lines}\n");
            assert_eq!(rendered("7", "arrived", data), expect, "{data:?}");
        }
        let expect = "id: 7 data: x\nevent: a  b\ndata: \n\n";
        assert_eq!(rendered("7\ndata: x", "a\r\nb", ""), expect);
    }

    proptest! {
        #[test]
        fn a_browser_understands_one_event(id: String, event: String, data: String) {
            let stream = rendered(&id, &event, &data);
            let events = understood(&stream);
            prop_assert_eq!(events.len(), 1);
            let lines = data.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(&events[0].2, &lines);
        }
    }
}
