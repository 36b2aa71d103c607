//! The only account that SCRAM knows in transcripts, from RFC 7677 §3: "user" with the password
//! "pencil".
//!
//! No keys and no cryptography are needed: with a fixed nonce an exchange is always the same, so
//! its proof and signature can be constants. Another program computed them; the first pair is the
//! RFC's own.

/// The user's name.
pub(crate) const USER: &str = "user";

/// The salt of the user's keys.
pub(crate) const SALT: [u8; 16] = [
    91, 109, 153, 104, 157, 18, 53, 142, 236, 160, 75, 20, 18, 54, 250, 129,
];

/// How many times the password was hashed.
pub(crate) const ITERATIONS: u32 = 4_096;

/// The server's part of the nonce.
pub(crate) const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

/// The `tls-exporter` channel binding of connections with TLS.
pub(crate) const EXPORTER: [u8; 32] = [0x5a; 32];

/// What the client and the server send before the client's last message.
const SAID: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

/// `c=` of the client's last message, its proof, and the server's signature.
const EXCHANGES: [(&str, [u8; 32], [u8; 32]); 2] = [
    (
        "biws",
        [
            116, 124, 219, 101, 170, 86, 34, 78, 35, 82, 19, 126, 82, 215, 189, 202, 214, 160, 247,
            56, 223, 48, 120, 44, 170, 105, 162, 207, 176, 39, 117, 84,
        ],
        [
            234, 186, 226, 77, 16, 98, 219, 117, 169, 69, 31, 240, 182, 234, 126, 152, 200, 84,
            101, 73, 255, 116, 30, 103, 45, 50, 81, 178, 57, 125, 228, 110,
        ],
    ),
    (
        "cD10bHMtZXhwb3J0ZXIsLFpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa",
        [
            244, 180, 51, 8, 253, 128, 13, 198, 16, 250, 8, 202, 226, 231, 143, 106, 174, 130, 134,
            89, 66, 106, 229, 243, 119, 195, 226, 211, 36, 237, 131, 157,
        ],
        [
            254, 23, 112, 6, 246, 22, 219, 5, 74, 217, 119, 119, 49, 28, 166, 187, 126, 147, 252,
            207, 36, 230, 126, 115, 83, 246, 224, 197, 134, 150, 126, 115,
        ],
    ),
];

/// The server's signature, if the proof is the user's for this auth message.
pub(crate) fn verify(user: &str, auth_message: &str, proof: &[u8; 32]) -> Option<[u8; 32]> {
    EXCHANGES
        .iter()
        .filter(|(binding, expected, _)| {
            let nonce = format!("rOprNGfwEbeRWgbNEkqO{NONCE}");
            user == USER
                && proof == expected
                && auth_message == format!("{SAID},c={binding},r={nonce}")
        })
        .map(|(_, _, signature)| *signature)
        .next()
}
