# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_facteur_global_optspecs
    string join \n smtp= pop3= http= lmtp= mail= durability= config= check log-level= h/help V/version
end

function __fish_facteur_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_facteur_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_facteur_using_subcommand
    set -l cmd (__fish_facteur_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c facteur -n "__fish_facteur_needs_command" -l smtp -d 'Address and port for SMTP, for example 127.0.0.1:65434; a port without an address means this machine only; port 0 means any free port; "off" turns SMTP off; can be given several times' -r
complete -c facteur -n "__fish_facteur_needs_command" -l pop3 -d 'Address and port for POP3, in the same form' -r
complete -c facteur -n "__fish_facteur_needs_command" -l http -d 'Address and port for HTTP, in the same form' -r
complete -c facteur -n "__fish_facteur_needs_command" -l lmtp -d 'Address and port for LMTP, in the same form, or the absolute path of a socket' -r
complete -c facteur -n "__fish_facteur_needs_command" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_needs_command" -l durability -d 'How to make messages survive a power cut: journal (many at a time, in a journal), maildir (each in its Maildir) or none (not at all, for disposable test servers)' -r
complete -c facteur -n "__fish_facteur_needs_command" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_needs_command" -l log-level -d 'How much to log: off, error, warn, info, debug or trace' -r
complete -c facteur -n "__fish_facteur_needs_command" -l check -d 'Check the configuration and exit'
complete -c facteur -n "__fish_facteur_needs_command" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_needs_command" -s V -l version -d 'Print version'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "account" -d 'Add, change, remove and list accounts'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "cert" -d 'Create a TLS certificate for this machine, and the CA that mail programs must trust'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "check-ready" -d 'Check that a daemon with this configuration is ready for clients'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "cursor" -d 'Print a cursor for the present position, for `wait --since`'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "hash-password" -d 'Print the configuration line for an account\'s password, or the whole account'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "list" -d 'List the messages of all mailboxes, the newest first'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "migrate" -d 'Move all mailboxes from a mail directory to the database of the configuration, or back'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "remove" -d 'Remove messages from all mailboxes that have them'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "sendmail" -d 'Send the message on standard input to the daemon, as programs expect of sendmail'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "settings" -d 'Print an address\'s settings for a mail program'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "show" -d 'Print a message, a part of it, or a link or a code in it'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "wait" -d 'Wait for a message, and print it as `show` does'
complete -c facteur -n "__fish_facteur_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -f -a "add" -d 'Create an account, and print its settings for a mail program'
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -f -a "remove" -d 'Remove an account; its mail is kept'
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -f -a "password" -d 'Change the password of an account'
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -f -a "list" -d 'Print the addresses of all accounts, each with its aliases'
complete -c facteur -n "__fish_facteur_using_subcommand account; and not __fish_seen_subcommand_from add remove password list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from add" -l alias -d 'Another address whose mail is delivered to this account; can be given several times' -r
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from add" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from add" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from add" -l generate -d 'Generate a random password and print it; without this option, type the password twice at a terminal, where it is not shown, or put it on the first line of standard input'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from add" -l no-scram -d 'Do not store a secret for SCRAM-SHA-256; passwords that are not ASCII need this option'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from remove" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from password" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from password" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from password" -l generate -d 'Generate a random password and print it; without this option, type the password twice at a terminal, where it is not shown, or put it on the first line of standard input'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from password" -l no-scram -d 'Do not store a secret for SCRAM-SHA-256; passwords that are not ASCII need this option'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from password" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from list" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from list" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "add" -d 'Create an account, and print its settings for a mail program'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove an account; its mail is kept'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "password" -d 'Change the password of an account'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "list" -d 'Print the addresses of all accounts, each with its aliases'
complete -c facteur -n "__fish_facteur_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c facteur -n "__fish_facteur_using_subcommand cert" -l dir -d 'Directory for the certificates and keys; it is created if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand cert" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand cert" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand cert" -l renew -d 'Replace the certificate even if it has not expired; the keys and the CA are kept'
complete -c facteur -n "__fish_facteur_using_subcommand cert" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand check-ready" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand check-ready" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand check-ready" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand cursor" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand cursor" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand cursor" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand hash-password" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand hash-password" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand hash-password" -l no-scram -d 'Do not print a secret for SCRAM-SHA-256; passwords that are not ASCII need this option'
complete -c facteur -n "__fish_facteur_using_subcommand hash-password" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand list" -l mailbox -d 'Only messages of this mailbox' -r
complete -c facteur -n "__fish_facteur_using_subcommand list" -l limit -d 'At most this many messages' -r
complete -c facteur -n "__fish_facteur_using_subcommand list" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand list" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand list" -l json -d 'Print the answer of the daemon, in the form of Mailpit'
complete -c facteur -n "__fish_facteur_using_subcommand list" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand migrate" -l from -d 'Mail directory whose messages are moved to the database' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand migrate" -l to -d 'Mail directory to which the messages of the database are moved; it is created if it is missing, and must not have other messages' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand migrate" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand migrate" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand migrate" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand remove" -l match -d 'All messages to which all these words apply' -r
complete -c facteur -n "__fish_facteur_using_subcommand remove" -l mailbox -d 'All messages of this mailbox; other mailboxes keep their copies' -r
complete -c facteur -n "__fish_facteur_using_subcommand remove" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand remove" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand remove" -l all -d 'All messages'
complete -c facteur -n "__fish_facteur_using_subcommand remove" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand sendmail" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand sendmail" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand settings" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand settings" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand settings" -l autoconfig -d 'Print the settings as a file that mail programs download (Thunderbird\'s autoconfig)'
complete -c facteur -n "__fish_facteur_using_subcommand settings" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand show" -l link -d 'Print the first http or https link that contains PART' -r
complete -c facteur -n "__fish_facteur_using_subcommand show" -l code -d 'Print the first code: N digits (4 to 8 if there is no N) that stand alone' -r
complete -c facteur -n "__fish_facteur_using_subcommand show" -l save -d 'Write the attachments into this directory, which is created if it is missing; nothing in it is overwritten' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand show" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand show" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand show" -l json -d 'Print the answer of the daemon, in the form of Mailpit'
complete -c facteur -n "__fish_facteur_using_subcommand show" -l raw -d 'Print the whole message, unchanged'
complete -c facteur -n "__fish_facteur_using_subcommand show" -l text -d 'Print the text'
complete -c facteur -n "__fish_facteur_using_subcommand show" -l html -d 'Print the HTML'
complete -c facteur -n "__fish_facteur_using_subcommand show" -l headers -d 'Print the header section'
complete -c facteur -n "__fish_facteur_using_subcommand show" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l to -d 'A message to this address; a sub-address such as bob+test7@example.com counts as written' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l subject -d 'A message with this text in its subject' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l match -d 'A message to which all these words apply, as in `facteur list`' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l count -d 'Wait for this many messages, and print all of them, the oldest first' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l since -d 'Only messages that came after this: a cursor, an age, or seconds since 1970' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l timeout -d 'How long to wait: for example 500ms, 10s or 2m; 0s means not at all' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l link -d 'Print the first http or https link that contains PART' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l code -d 'Print the first code: N digits (4 to 8 if there is no N) that stand alone' -r
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l save -d 'Write the attachments into this directory, which is created if it is missing; nothing in it is overwritten' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l mail -d 'Directory for the mail; the daemon creates it if it is missing' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l config -d 'Configuration file; config.example.toml lists every key' -r -F
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l none -d 'Succeed if no message comes before the time is over'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l json -d 'Print the answer of the daemon, in the form of Mailpit'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l raw -d 'Print the whole message, unchanged'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l text -d 'Print the text'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l html -d 'Print the HTML'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -l headers -d 'Print the header section'
complete -c facteur -n "__fish_facteur_using_subcommand wait" -s h -l help -d 'Print help'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "account" -d 'Add, change, remove and list accounts'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "cert" -d 'Create a TLS certificate for this machine, and the CA that mail programs must trust'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "check-ready" -d 'Check that a daemon with this configuration is ready for clients'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "cursor" -d 'Print a cursor for the present position, for `wait --since`'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "hash-password" -d 'Print the configuration line for an account\'s password, or the whole account'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "list" -d 'List the messages of all mailboxes, the newest first'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "migrate" -d 'Move all mailboxes from a mail directory to the database of the configuration, or back'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "remove" -d 'Remove messages from all mailboxes that have them'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "sendmail" -d 'Send the message on standard input to the daemon, as programs expect of sendmail'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "settings" -d 'Print an address\'s settings for a mail program'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "show" -d 'Print a message, a part of it, or a link or a code in it'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "wait" -d 'Wait for a message, and print it as `show` does'
complete -c facteur -n "__fish_facteur_using_subcommand help; and not __fish_seen_subcommand_from account cert check-ready cursor hash-password list migrate remove sendmail settings show wait help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c facteur -n "__fish_facteur_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "add" -d 'Create an account, and print its settings for a mail program'
complete -c facteur -n "__fish_facteur_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "remove" -d 'Remove an account; its mail is kept'
complete -c facteur -n "__fish_facteur_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "password" -d 'Change the password of an account'
complete -c facteur -n "__fish_facteur_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "list" -d 'Print the addresses of all accounts, each with its aliases'
