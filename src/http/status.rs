//! The status codes that this server sends (RFC 9110 §15).

/// Declares [`Status`]: each status with its code and its reason phrase.
macro_rules! statuses {
    ($($(#[$doc:meta])* $status:ident = $code:literal $phrase:literal,)*) => {
        /// The status of a response, in the order of the codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Status {
            $($(#[$doc])* $status,)*
        }

        impl Status {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$status,)*];

            /// The three digits.
            pub fn code(self) -> u16 {
                match self {
                    $(Self::$status => $code,)*
                }
            }

            /// The code and the text after it, which no program reads (RFC 9112 §4).
            pub fn line(self) -> &'static str {
                match self {
                    $(Self::$status => concat!($code, " ", $phrase),)*
                }
            }
        }
    };
}

statuses! {
    /// The request has succeeded.
    Ok = 200 "OK",
    /// It has succeeded, and there is nothing to say.
    NoContent = 204 "No Content",
    /// Another page shows the result: GET it.
    SeeOther = 303 "See Other",
    /// The client has it already.
    NotModified = 304 "Not Modified",
    /// The request is not HTTP/1.1, or makes no sense.
    BadRequest = 400 "Bad Request",
    /// The client has to log in.
    Unauthorized = 401 "Unauthorized",
    /// This client, or the page that it shows, may not do that.
    Forbidden = 403 "Forbidden",
    /// There is no such thing.
    NotFound = 404 "Not Found",
    /// There is such a thing, and it does not know this method.
    MethodNotAllowed = 405 "Method Not Allowed",
    /// The request did not arrive in time.
    RequestTimeout = 408 "Request Timeout",
    /// Something else holds what the request needs.
    Conflict = 409 "Conflict",
    /// It was there once.
    Gone = 410 "Gone",
    /// The body is too large.
    ContentTooLarge = 413 "Content Too Large",
    /// The request line is too long.
    UriTooLong = 414 "URI Too Long",
    /// The body has another type.
    UnsupportedMediaType = 415 "Unsupported Media Type",
    /// The client expects what this server does not do.
    ExpectationFailed = 417 "Expectation Failed",
    /// The request was meant for another server.
    MisdirectedRequest = 421 "Misdirected Request",
    /// The client asks too often.
    TooManyRequests = 429 "Too Many Requests",
    /// The head is too long.
    HeaderFieldsTooLarge = 431 "Request Header Fields Too Large",
    /// Something went wrong; the log has the details.
    InternalServerError = 500 "Internal Server Error",
    /// This server does not do that.
    NotImplemented = 501 "Not Implemented",
    /// This server cannot do that now.
    ServiceUnavailable = 503 "Service Unavailable",
    /// This server does not speak that version.
    VersionNotSupported = 505 "HTTP Version Not Supported",
    /// There is no space.
    InsufficientStorage = 507 "Insufficient Storage",
}

impl Status {
    /// Whether a response with this status never has a body (RFC 9110 §6.4.1).
    pub fn has_no_body(self) -> bool {
        matches!(self, Self::NoContent | Self::NotModified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_three_digits_and_ascend() {
        let codes: Vec<u16> = Status::ALL.iter().map(|status| status.code()).collect();
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert!(codes.iter().all(|code| (200..600).contains(code)));
        for status in Status::ALL {
            let text = |c: char| c.is_ascii_alphabetic() || c == ' ';
            let (code, phrase) = status.line().split_once(' ').unwrap();
            assert_eq!(code, status.code().to_string());
            assert!(phrase.chars().all(text), "{status:?}");
        }
    }
}
