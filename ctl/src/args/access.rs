//! What can be typed of users, tokens and the certificate.

use std::path::PathBuf;

use clap::Subcommand;

/// Of one's own account, and of others'.
#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Print a token for these twelve hours: SLUICE_TOKEN=$(sluicectl login admin)
    Login {
        /// Who
        user: String,
        /// A file with the password, instead of standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// End the login whose token is given
    Logout,
    /// Change one's own password; the old and the new one are read, a line each
    Password {
        /// A file with the old password
        #[arg(long, value_name = "FILE")]
        old_file: Option<PathBuf>,
        /// A file with the new password
        #[arg(long, value_name = "FILE")]
        new_file: Option<PathBuf>,
    },
    /// Make, change or take out users
    #[command(subcommand)]
    User(UserCommand),
    /// Make or revoke API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Replace the API's certificate, or ask clients for theirs
    #[command(subcommand)]
    Certificate(Certificate),
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user, or change one
    Put {
        /// Who
        name: String,
        /// What the user may do
        #[arg(long, value_parser = ["viewer", "operator", "admin"])]
        role: String,
        /// A file with the first password of a new user, or a new one of an old user
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// Check it, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a user out, logins and tokens included
    Delete {
        /// Who
        name: String,
        /// Check it, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print its secret, which is never shown again
    Make {
        /// What it is for
        name: String,
        /// What it may do, and never more than its user
        #[arg(long, value_parser = ["viewer", "operator", "admin"])]
        role: String,
        /// What it is held to of that, as config:write or sessions:read; can be given several times
        #[arg(long, value_name = "AREA:read|write")]
        scope: Vec<String>,
        /// Whose it is; yours by default
        #[arg(long)]
        user: Option<String>,
        /// How many days it is good
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
    },
    /// Revoke a token
    Revoke {
        /// Its number, as show tokens has it
        id: String,
        /// Check it, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// What to do with the certificate.
#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// Use another one, for connections from now on
    Set {
        /// A file with the certificate and those that vouch for it (PEM)
        certificate: PathBuf,
        /// A file with its key (PEM)
        key: PathBuf,
        /// Check it, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Ask clients for certificates, which then stand for users
    Ask {
        /// A file with the authorities (PEM) that vouch for clients
        authorities: PathBuf,
        /// Refuse connections without such a certificate
        #[arg(long)]
        required: bool,
        /// A file with the authorities' lists (PEM) of certificates that do not count any more
        #[arg(long, value_name = "FILE")]
        crls: Option<PathBuf>,
    },
    /// Ask clients for no certificates
    Ignore,
}
