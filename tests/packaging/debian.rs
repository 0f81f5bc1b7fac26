//! The Debian package, from its installation to its end.

use std::{collections::BTreeSet, path::Path, process::Command};

use crate::common::Folder;
use crate::machine::Machine;

#[test]
fn the_package_serves_once_installed_and_leaves_nothing_behind() {
    let shared = Folder::new();
    pack(&shared.0.join("setu.deb"));
    let machine = Machine::boot(ADDRESS, &shared.0);
    let before = files(&machine);

    machine.run("dpkg -i /shared/setu.deb");
    machine.run("test -s /usr/share/man/man1/setu-check.1 && bash -n /usr/share/bash-completion/completions/setu");
    serves(&machine);
    may_do_little(&machine);
    let secrets = secrets(&machine);
    reloads(&machine);

    machine.run("dpkg -i /shared/setu.deb");
    serves(&machine);
    assert_eq!(self::secrets(&machine), secrets);
    assert!(machine.run("cat /etc/setu/turn.toml").ends_with(CHANGE));

    machine.run("dpkg -r setu");
    assert!(machine.fails("systemctl is-active setu"));
    assert!(machine.fails("command -v setu"));
    assert_eq!(self::secrets(&machine), secrets);

    machine.run("dpkg -P setu");
    assert!(machine.fails("getent passwd setu") && machine.fails("getent group setu"));
    let left: Vec<_> = files(&machine).difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Of what the tests are run with; a release would take longer to build than all else here.
fn pack(file: &Path) {
    let output = Command::new("cargo")
        .args(["deb", "--no-build", "--profile=dev", "--fast"])
        .args(["--locked", "--offline", "--output"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo install cargo-deb: {said}");
}

/// The unit says that it is ready, both halves answer, and its own examination finds no fault.
fn serves(machine: &Machine) {
    machine.run("systemctl is-active setu && systemctl is-enabled setu");
    machine.run("setu health --config /etc/setu/turn.toml");
    let server = format!("{ADDRESS}:3478").parse().unwrap();
    assert!(machine.answers_binding(server).unwrap());
    let found = machine.run("setu check --json --config /etc/setu/turn.toml || [ $? = 1 ]");
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    for over in ["udp", "tcp", "tls", "dtls"] {
        let name = format!("relay.{over}");
        let mut checks = found.as_array().unwrap().iter();
        let relayed = checks.find(|check| check["check"] == name.as_str());
        assert_eq!(relayed.unwrap()["status"], "ok", "{found:#}");
    }
}

/// The process is what the unit has made of it.
fn may_do_little(machine: &Machine) {
    let status = machine.run("cat /proc/$(systemctl show -P MainPID setu)/status");
    let row = |name: &str| {
        let row = status.lines().find_map(|line| line.strip_prefix(name));
        row.unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let uid = machine.run("id -u setu");
    assert_eq!(row("Uid:"), [uid.trim(); 4].join(" "));
    // CAP_NET_BIND_SERVICE.
    for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"] {
        assert_eq!(row(set), "0000000000000400", "{set}");
    }
    assert_eq!([row("NoNewPrivs:"), row("Seccomp:")], ["1", "2"]);
    machine.run("systemd-analyze verify /usr/lib/systemd/system/setu.service");
    machine.run("systemd-analyze security --no-pager --threshold=19 setu.service");
}

/// Each as its owner, who may read it, and what it holds.
fn secrets(machine: &Machine) -> [String; 2] {
    ["credentials-secret", "admin-token"].map(|name| {
        let file = format!("/etc/setu/{name}");
        assert_eq!(machine.run(&format!("stat -c %a:%U {file}")), "640:root\n");
        let secret = machine.run(&format!("cat {file}"));
        assert_eq!(secret.len(), 64);
        secret
    })
}

fn reloads(machine: &Machine) {
    machine.run(&format!("printf %s '{CHANGE}' >> /etc/setu/turn.toml"));
    machine.run("systemctl reload setu && systemctl is-active setu");
    // The signal is sent; what it does is told in the journal.
    let told = "grep --quiet credentials.ttl <(journalctl --unit setu --follow --lines=all)";
    machine.run(&format!("timeout 10 bash -c '{told}'"));
}

/// All but logs, the package manager's own notes, and copies of the lists of users as they were.
fn files(machine: &Machine) -> BTreeSet<String> {
    let found = machine.run("find /etc /opt /srv /usr /var -xdev");
    let kept = |file: &&str| {
        let notes = ["/var/log/", "/var/lib/dpkg/", "/var/cache/"];
        !notes.iter().any(|folder| file.starts_with(folder)) && !file.ends_with('-')
    };
    found.lines().filter(kept).map(str::to_owned).collect()
}

/// Of a network for documentation.
const ADDRESS: &str = "198.51.100.7";
/// What an administrator adds to the configuration.
const CHANGE: &str = "ttl = \"12h\"\n";
