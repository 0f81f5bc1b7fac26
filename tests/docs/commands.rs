//! Every command of every page, in its order, in one shell a page.

use super::call;
use super::machine::{Machine, Start, vps_section};
use super::page::{self, Block, Page};

/// The pages that have commands, and the machine that each is for.
const PAGES: &[(&str, Start)] = &[
    ("README.md", Start::Bare),
    ("docs/clients.md", Start::Serving),
    ("docs/coturn.md", Start::Bare),
    ("docs/docker.md", Start::Docker),
    ("docs/kubernetes.md", Start::Bare),
    ("docs/metrics.md", Start::Serving),
    ("docs/nat.md", Start::Serving),
    ("docs/performance.md", Start::Bare),
    ("docs/scaling.md", Start::Serving),
    ("docs/troubleshooting.md", Start::Serving),
    ("docs/vps.md", Start::Docker),
];

#[test]
fn every_page_with_commands_has_its_machine() {
    for page in page::all() {
        let has_commands = page.blocks.iter().any(|block| block.language == "sh");
        let is_translated = page.file.starts_with("docs/ru/");
        let is_there = PAGES.iter().any(|(file, _)| *file == page.file);
        assert!(is_there == has_commands || is_translated, "{}", page.file);
    }
}

#[test]
fn every_command_succeeds_word_for_word() {
    std::thread::scope(|scope| {
        for (file, start) in PAGES {
            scope.spawn(move || {
                let page = Page::read(file.as_ref());
                let mut machine = Machine::new(*start);
                for block in &page.blocks {
                    if is_package(block) {
                        // Instead of what stands before it.
                        installed(block);
                        continue;
                    }
                    match block.language.as_str() {
                        "yaml" => machine.write("setu.yaml", &block.text),
                        "sh" => {
                            machine.run(&format!("{file}:{}", block.line), &block.text);
                        }
                        _ => {}
                    }
                }
            });
        }
    });
}

/// From a bare machine behind 1:1 NAT to a call that goes through its relay, by the README alone.
#[test]
fn who_follows_the_readme_on_a_vps_has_a_relayed_call() {
    let mut machine = Machine::new(Start::Bare);
    let section = vps_section();
    let said = machine.run(&format!("README.md:{}", section.line), &section.text);
    assert!(said.contains("\"status\":\"ok\""), "{said}");
    assert!(machine.calls().contains("docker-compose up -d --build"));
    call::relayed(&machine.world);
}

#[test]
fn who_installs_the_package_on_a_vps_has_a_relayed_call() {
    let readme = Page::read("README.md".as_ref());
    let block = readme.blocks.iter().find(|block| is_package(block));
    call::relayed(&installed(block.unwrap()).world);
}

fn is_package(block: &Block) -> bool {
    block.text.starts_with("apt-get install -y ./")
}

fn installed(block: &Block) -> Machine {
    let mut machine = Machine::new(Start::Bare);
    let words = block.text.split_whitespace();
    let package = words.clone().find_map(|word| word.strip_prefix("./"));
    machine.write(package.unwrap(), "");
    machine.run("the package", &block.text);
    machine
}
