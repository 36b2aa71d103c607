//! The user who sends: the login name and the full name.

use std::io::Read as _;

/// Where Linux keeps its users.
const USERS: &str = "/etc/passwd";

/// Octets of that file that are read: tens of thousands of users.
const USERS_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// The login name.
    pub(super) login: String,
    /// The full name, if it is known.
    pub(super) full_name: Option<String>,
}

impl User {
    /// The user who runs this process. For a user of another database than `/etc/passwd`, the
    /// environment has the name.
    pub(super) fn current() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|it| !it.is_empty());
        let mut users = Vec::new();
        if let Ok(file) = std::fs::File::open(USERS) {
            // A user who cannot be found there has the name from the environment.
            drop(file.take(USERS_OCTETS_MAX).read_to_end(&mut users));
        }
        let users = String::from_utf8_lossy(&users);
        let user = Self::find(rustix::process::getuid().as_raw(), &users);
        let mut user = user.unwrap_or_else(|| Self {
            login: variable("LOGNAME")
                .or_else(|| variable("USER"))
                .unwrap_or_else(|| "nobody".to_owned()),
            full_name: None,
        });
        // As in Postfix and Sendmail.
        user.full_name = variable("NAME").or(user.full_name);
        user
    }

    /// Looks for a user in the text of passwd(5).
    fn find(uid: u32, users: &str) -> Option<Self> {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [login, _, number, _, comment, ..] = fields.as_slice() else {
                return None;
            };
            if number.parse() != Ok(uid) || login.is_empty() {
                return None;
            }
            // The first part is the name, in which `&` stands for the login name.
            let name = comment.split(',').next().unwrap_or_default().trim();
            let name = name.replace('&', &capitalised(login));
            Some(Self {
                login: (*login).to_owned(),
                full_name: Some(name).filter(|name| !name.is_empty()),
            })
        })
    }
}

fn capitalised(login: &str) -> String {
    let mut characters = login.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\n#\nshort:x:7\n\
                     al:x:7:7:& Smith,Room 1,,:/home/al:/bin/sh\nbo:x:8:8::/:\n";
        let user = |login: &str, name: Option<&str>| {
            Some(User {
                login: login.to_owned(),
                full_name: name.map(str::to_owned),
            })
        };
        assert_eq!(User::find(0, users), user("root", Some("root")));
        assert_eq!(User::find(7, users), user("al", Some("Al Smith")));
        assert_eq!(User::find(8, users), user("bo", None));
        assert_eq!(User::find(9, users), None);
    }
}
