//! The real binary, in a namespace, on its usual ports.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::namespace::Namespace;

pub(crate) const USER: &str = "turnuser";
pub(crate) const PASSWORD: &str = "turnpass";

/// Killed with the test.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(namespace: &Namespace, external: &str) -> Self {
        Self::with(namespace, external, &[])
    }

    /// The environment adds to or overrides what is usual.
    pub(crate) fn with(
        namespace: &Namespace,
        external: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = namespace.command(env!("CARGO_BIN_EXE_setu"));
        let inherited = env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("SETU_")) {
            command.env_remove(name);
        }
        for name in ["SOCKET_PORT", "NEXT_PUBLIC_APP_URL", "REDIS_URL"] {
            command.env_remove(name);
        }
        let mut child = command
            .arg("serve")
            .current_dir(env::temp_dir())
            .env("SETU_PROFILE", "production")
            .env("SETU_TURN__EXTERNAL_IP", external)
            .env("SETU_TURN__USERS", format!("{USER}:{PASSWORD}"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let server = Self(child);
        let mut summary = String::new();
        // The summary's last line closes the configuration.
        while !summary.ends_with("] }\n") {
            let read = stdout.read_line(&mut summary).unwrap();
            assert!(read > 0, "setu ended before it was ready:\n{summary}");
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
