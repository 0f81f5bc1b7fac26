//! What is kept in the folder: the account, and the certificate with its key. Nobody else may read either.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use instant_acme::AccountCredentials;
use serde::{Deserialize, Serialize};

use super::AcmeError;

/// The folder.
#[derive(Debug)]
pub(super) struct State(PathBuf);

/// An account, and whose it is.
#[derive(Serialize, Deserialize)]
struct Account {
    directory: String,
    credentials: AccountCredentials,
}

/// Where the certificate is, with its chain and its key in one file.
#[must_use]
pub fn certificate_file(state_dir: &Path) -> PathBuf {
    state_dir.join("certificate.pem")
}

impl State {
    pub(super) fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    /// The certificate as it is kept; nothing, if there is none yet.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        fs::read(certificate_file(&self.0)).ok()
    }

    pub(super) fn keep_certificate(&self, chain: &str, key: &str) -> Result<(), AcmeError> {
        self.keep(
            &certificate_file(&self.0),
            format!("{chain}\n{key}").as_bytes(),
        )
    }

    /// The account at this authority, if there is one that can be read.
    pub(super) fn account(&self, directory: &str) -> Option<AccountCredentials> {
        let text = fs::read(self.account_file()).ok()?;
        let account: Account = serde_json::from_slice(&text).ok()?;
        (account.directory == directory).then_some(account.credentials)
    }

    pub(super) fn keep_account(
        &self,
        directory: &str,
        credentials: AccountCredentials,
    ) -> Result<(), AcmeError> {
        let account = Account {
            directory: directory.to_owned(),
            credentials,
        };
        let text = serde_json::to_vec_pretty(&account).map_err(instant_acme::Error::from)?;
        self.keep(&self.account_file(), &text)
    }

    fn account_file(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// In one step: whoever reads the file has the old contents or the new ones, after a crash too.
    fn keep(&self, file: &Path, contents: &[u8]) -> Result<(), AcmeError> {
        let keep = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.0)?;
            let beside = file.with_extension("new");
            // One that a crash has left may have had other permissions.
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let mut options = OpenOptions::new();
            let mut unfinished: File = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&beside)?;
            unfinished.write_all(contents)?;
            unfinished.sync_all()?;
            fs::rename(&beside, file)
        };
        keep().map_err(|error: io::Error| AcmeError::File {
            file: file.to_owned(),
            reason: error.to_string(),
        })
    }
}
