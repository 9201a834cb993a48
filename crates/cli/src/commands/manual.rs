//! `weigh man` and `weigh help`: what the documentation says, inside the program.

use anyhow::{Result, bail};
use clap::CommandFactory;

use crate::args::Args;
use crate::printer::Printer;

/// Topics of `weigh help`, with a line about each and the page.
const TOPICS: [(&str, &str, &str); 22] = [
    ("guide", "the whole way on a real data set", include_str!("../../../../docs/guide.md")),
    ("choose", "when to prompt and when to train", include_str!("../../../../docs/choose.md")),
    ("task-file", "every key of the task file", include_str!("../../../../docs/task-file.md")),
    ("verdict", "how the verdict is decided", include_str!("../../../../docs/verdict.md")),
    (
        "written-answers",
        "tasks whose answers are texts or JSON",
        include_str!("../../../../docs/written-answers.md"),
    ),
    (
        "in-context-learning",
        "what it is, seen in a small model",
        include_str!("../../../../docs/in-context-learning.md"),
    ),
    (
        "prompting",
        "how the prompting arm chooses demonstrations, and searches instruction and format",
        include_str!("../../../../docs/prompting.md"),
    ),
    (
        "fine-tuning",
        "how the fine-tuning arm searches, and what combines both arms",
        include_str!("../../../../docs/fine-tuning.md"),
    ),
    ("budget", "how both arms get equal time", include_str!("../../../../docs/budget.md")),
    ("probes", "how stability and safety are asked about", include_str!("../../../../docs/probes.md")),
    ("shipping", "what `weigh ship` writes", include_str!("../../../../docs/shipping.md")),
    (
        "troubleshooting",
        "what went wrong, and what to do",
        include_str!("../../../../docs/troubleshooting.md"),
    ),
    (
        "where-adaptation-lives",
        "row 1 of the eight: what is kept, and where",
        include_str!("../../../../docs/rows/1-where-adaptation-lives.md"),
    ),
    (
        "setup-cost",
        "row 2: what it takes until the first answer",
        include_str!("../../../../docs/rows/2-setup-cost.md"),
    ),
    (
        "inference-cost",
        "row 3: what a request costs",
        include_str!("../../../../docs/rows/3-inference-cost.md"),
    ),
    (
        "iteration-speed",
        "row 4: how long it takes to try something new",
        include_str!("../../../../docs/rows/4-iteration-speed.md"),
    ),
    (
        "data-requirement",
        "row 5: how many labels it takes",
        include_str!("../../../../docs/rows/5-data-requirement.md"),
    ),
    (
        "behaviour-stability",
        "row 6: how much of the result is luck",
        include_str!("../../../../docs/rows/6-behaviour-stability.md"),
    ),
    (
        "safety-and-bias-risk",
        "row 7: what could go wrong, and for whom",
        include_str!("../../../../docs/rows/7-safety-and-bias-risk.md"),
    ),
    ("best-fit", "row 8: the three gates", include_str!("../../../../docs/rows/8-best-fit.md")),
    ("cli", "every command and option", include_str!("../../../../docs/cli.md")),
    ("record", "what `--json` prints", include_str!("../../../../docs/record.md")),
];

/// The topic that is the JSON Schema of the task file, for editors.
const SCHEMA: &str = "schema";

/// Prints a topic, the help of a verb, or both lists.
pub(crate) fn help(topic: Option<&str>, printer: &Printer) -> Result<()> {
    let mut command = Args::command();
    let Some(topic) = topic else {
        printer.print(&command.render_long_help().to_string());
        printer.print("Topics (`weigh help TOPIC`):");
        for (name, line, _) in TOPICS {
            printer.print(&format!("  {name:<24} {line}"));
        }
        printer.print(&format!("  {SCHEMA:<24} the JSON Schema of the task file, for editors"));
        return Ok(());
    };
    if topic == SCHEMA {
        return printer.print_json(&task::task_file::json_schema());
    }
    if let Some((.., page)) = TOPICS.iter().find(|(name, ..)| *name == topic) {
        printer.page(page);
        return Ok(());
    }
    command.build();
    match command.find_subcommand_mut(topic) {
        Some(verb) => printer.print(&verb.render_long_help().to_string()),
        None => bail!(
            "there is neither a verb nor a topic `{topic}`; topics: {}",
            TOPICS.map(|(name, ..)| name).join(", ")
        ),
    }
    Ok(())
}

/// What the exit codes mean, in the man page and in the reference.
const EXIT_CODES: &str = "0 done, 1 failed, 2 wrong arguments, task file or data, 3 stopped and can go on, 100 a check that did not pass \
                          (compare, probe, audit).";

/// Prints the man page: one page with all verbs and their options.
pub(crate) fn man(printer: &Printer) -> Result<()> {
    let mut command = Args::command();
    command.build();
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for verb in command.get_subcommands() {
        let mut part = Vec::new();
        let man = clap_mangen::Man::new(verb.clone());
        man.render_synopsis_section(&mut part)?;
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        page.extend(format!(".SH \"WEIGH {}\"\n", verb.get_name().to_uppercase()).into_bytes());
        page.extend(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").into_bytes());
    }
    page.extend(format!(".SH \"EXIT STATUS\"\n{EXIT_CODES}\n").into_bytes());
    printer.print_raw(&String::from_utf8_lossy(&page));
    Ok(())
}

/// The reference of the command line as Markdown: the content of `docs/cli.md`.
#[cfg(test)]
pub(crate) fn reference() -> String {
    let mut out = format!(
        "# The command line\n\nResults go to standard output, progress and hints to standard error. Exit codes: {EXIT_CODES}\n\n\
         <!-- Made from crates/cli/src/args.rs: cargo xtask generate -->\n"
    );
    let mut command = Args::command().term_width(100);
    command.build();
    for verb in command.get_subcommands_mut() {
        if verb.get_name() == "help" {
            continue;
        }
        let text = verb.render_long_help().to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        out += &format!("\n## weigh {}\n```text\n{}\n```\n", verb.get_name(), lines.join("\n").trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The page is the one made from the code; UPDATE_DOCS=1 writes it.
    #[test]
    fn the_reference_of_the_command_line_is_current() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
        let made = reference();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            task::atomic::write(&place, made.as_bytes()).expect("the page is written");
        }
        let stored = std::fs::read_to_string(&place).expect("docs/cli.md is there");
        assert!(stored == made, "docs/cli.md is stale: cargo xtask generate");
    }

    #[test]
    fn every_topic_has_a_page_with_a_title() {
        for (name, _, page) in TOPICS {
            assert!(page.starts_with("# "), "{name}");
        }
    }
}
