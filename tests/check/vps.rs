//! A machine of its own: an address that the internet reaches, a default route, and a configuration for production.

use std::{env, fs, path::PathBuf, process::Command};

use super::certificates::Authority;
use super::common::{self, Folder};
use super::namespace::Namespace;

pub(crate) const ADDRESS: &str = "198.51.100.1";
/// Behind a router.
pub(crate) const PRIVATE: &str = "10.0.0.5";
pub(crate) const SECRET: &str = "5f1c0d9be8a74c22ad3190cf5b6ee8715f1c0d9be8a74c22ad3190cf5b6ee871";

pub(crate) struct Vps {
    pub(crate) machine: Namespace,
    pub(crate) router: Namespace,
    pub(crate) folder: Folder,
    hosts: Option<PathBuf>,
}

impl Vps {
    pub(crate) fn new() -> Self {
        Self::at(ADDRESS, "198.51.100.254")
    }

    pub(crate) fn behind_nat() -> Self {
        Self::at(PRIVATE, "10.0.0.1")
    }

    fn at(address: &str, router: &str) -> Self {
        let vps = Self {
            machine: Namespace::new("vps"),
            router: Namespace::new("router"),
            folder: Folder::new(),
            hosts: None,
        };
        vps.router.cable("inner", &vps.machine, "eth0");
        vps.router.address("inner", &format!("{router}/24"));
        vps.machine.address("eth0", &format!("{address}/24"));
        vps.machine.ip(&format!("route add default via {router}"));
        Authority::new("CN=Test Root")
            .issue(&[ADDRESS, "turn.example.org"])
            .write(&vps.folder, "good");
        vps
    }

    /// What /etc/hosts says there.
    pub(crate) fn hosts(mut self, text: &str) -> Self {
        let folder = PathBuf::from("/etc/netns").join(&self.machine.name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("hosts"), text).unwrap();
        self.hosts = Some(folder);
        self
    }

    /// `setu` there, configured as it should be, with these variables on top.
    pub(crate) fn setu(&self, variables: &[(&str, &str)]) -> Command {
        self.by(&[env!("CARGO_BIN_EXE_setu")], variables)
    }

    /// The same, started by a program that then runs it.
    pub(crate) fn by(&self, program: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = self.machine.command(program[0]);
        command.args(&program[1..]).current_dir(env::temp_dir());
        let inherited = env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("SETU_")) {
            command.env_remove(name);
        }
        for name in ["SOCKET_PORT", "NEXT_PUBLIC_APP_URL", "REDIS_URL"] {
            command.env_remove(name);
        }
        let file = |name: &str| self.folder.0.join(name);
        command
            .env("SETU_PROFILE", "production")
            .env("SETU_CREDENTIALS__SECRET", SECRET)
            .env("SETU_TURN__EXTERNAL_IP", ADDRESS)
            .env("SETU_TURN__TLS_CERT_FILE", file("good.pem"))
            .env("SETU_TURN__TLS_KEY_FILE", file("good.key"))
            .envs(variables.iter().copied());
        command
    }

    /// A running server there.
    pub(crate) fn serve(&self, variables: &[(&str, &str)]) -> common::Serving {
        common::Serving::start(self.setu(variables))
    }
}

impl Drop for Vps {
    fn drop(&mut self) {
        if let Some(folder) = &self.hosts {
            let _ = fs::remove_dir_all(folder);
        }
    }
}
