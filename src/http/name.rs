//! The names of the fields that a response can have.
//!
//! Closed, so that no field has a name from outside, and so that nobody but the writer of heads in
//! [`super::response`] can say how long a body is or whether the connection stays open.

/// Declares [`Name`]: each name with its text.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The name of a field of a response.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Name {
            $($(#[$doc])* $name,)*
        }

        impl Name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The text of the name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

names! {
    /// RFC 9110 §10.2.1: the methods of a resource.
    Allow = "Allow",
    /// Fetch §3.3.3: how long a preflight may be remembered.
    AccessControlMaxAge = "Access-Control-Max-Age",
    /// Fetch §3.3.3: the fields that a page of another origin may send.
    AccessControlAllowHeaders = "Access-Control-Allow-Headers",
    /// Fetch §3.3.3: the methods that a page of another origin may use.
    AccessControlAllowMethods = "Access-Control-Allow-Methods",
    /// Fetch §3.3.3: the origin whose pages may read the response.
    AccessControlAllowOrigin = "Access-Control-Allow-Origin",
    /// RFC 9111 §5.2: what may be kept, and for how long.
    CacheControl = "Cache-Control",
    /// RFC 6266: that a body is to be saved, and its name.
    ContentDisposition = "Content-Disposition",
    /// CSP 3: what a document may load and do.
    ContentSecurityPolicy = "Content-Security-Policy",
    /// RFC 9110 §8.3: the media type of the body.
    ContentType = "Content-Type",
    /// HTML §7.1.3: which documents share a group of windows.
    CrossOriginOpenerPolicy = "Cross-Origin-Opener-Policy",
    /// Fetch §3.8: which pages may embed the response.
    CrossOriginResourcePolicy = "Cross-Origin-Resource-Policy",
    /// RFC 9110 §8.8.3: the version of the body.
    ETag = "ETag",
    /// RFC 9110 §10.2.2: where to go next.
    Location = "Location",
    /// Referrer Policy: which requests name the page that they come from.
    ReferrerPolicy = "Referrer-Policy",
    /// RFC 9110 §10.2.3: when to try again.
    RetryAfter = "Retry-After",
    /// RFC 6265 §4.1.
    SetCookie = "Set-Cookie",
    /// RFC 9110 §12.5.5: which fields of the request the response depends on.
    Vary = "Vary",
    /// RFC 9110 §11.6.1: how to log in.
    WwwAuthenticate = "WWW-Authenticate",
    /// For nginx: whether it collects the response before it passes it on.
    XAccelBuffering = "X-Accel-Buffering",
    /// Fetch §3.6: that the type of the body is what it says.
    XContentTypeOptions = "X-Content-Type-Options",
    /// Whether the hosts of links are looked up in advance.
    XDnsPrefetchControl = "X-DNS-Prefetch-Control",
}
