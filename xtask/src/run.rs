//! Running commands in the root of the workspace.

use anyhow::Context;
use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

/// How a command ended; what went wrong, it has said itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With exit code 0.
    Well,
    /// With any other, or by a signal.
    Badly,
}

/// A command with its arguments and what is added to its environment.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Step {
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { program: program.to_owned(), arguments, environment: vec![] }
    }

    /// A command of the cargo that runs us.
    pub(crate) fn cargo(arguments: &[&str]) -> Self {
        Self::new(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
    }

    pub(crate) fn and(mut self, arguments: Vec<String>) -> Self {
        self.arguments.extend(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Prints the command and runs it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn run(&self) -> anyhow::Result<Ended> {
        println!("\n==> {}", self.shown());
        let status =
            self.command().status().with_context(|| format!("cannot run {}", self.shown()))?;
        Ok(if status.success() { Ended::Well } else { Ended::Badly })
    }

    /// Whether it can be started and ends well, with its output thrown away.
    pub(crate) fn succeeds_quietly(&self) -> bool {
        let status = self.command().stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    fn command(&self) -> Command {
        let root = root();
        let program = if self.program.starts_with('.') {
            root.join(&self.program)
        } else {
            self.program.clone().into()
        };
        let mut command = Command::new(program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.args(&self.arguments).envs(environment).current_dir(root);
        command
    }

    fn shown(&self) -> String {
        // CARGO holds a whole path; its last part is what a reader would type.
        let path = Path::new(&self.program);
        let name = if path.is_absolute() { path.file_name() } else { None };
        let program = name.unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let variables = self.environment.iter().map(|(name, value)| format!("{name}='{value}'"));
        variables
            .chain([program])
            .chain(self.arguments.iter().cloned())
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Runs the steps in order, up to the first one that does not end well.
///
/// # Errors
/// When one cannot be started.
pub(crate) fn all(steps: &[Step]) -> anyhow::Result<Ended> {
    for step in steps {
        if step.run()? == Ended::Badly {
            return Ok(Ended::Badly);
        }
    }
    Ok(Ended::Well)
}
