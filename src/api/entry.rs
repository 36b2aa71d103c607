//! What has to be known about who asks, before a request is answered.

/// What a path needs in closed mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: the answer says nothing of mail.
    Anybody,
    /// A login.
    Login,
    /// The password in the form of the request, over TLS.
    LogIn,
    /// Nothing, over TLS: the browser wants to forget its login.
    LogOut,
}
