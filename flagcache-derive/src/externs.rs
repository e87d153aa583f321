//! Finds the name of the facade among the compiler's `--extern` arguments, for an error message.

use std::env;
use std::path::Path;

const FACADE: &str = "flagcache";
const CORE: &str = "flagcache_core";

/// The name to write after `crate = `, if the compiler certainly does not know the facade as `flagcache`, but by
/// another name, or knows only flagcache-core. Read from the command line, because a macro runs inside the compiler.
pub(crate) fn other_name() -> Option<String> {
    other_name_in(env::args())
}

pub(crate) fn other_name_in(arguments: impl Iterator<Item = String>) -> Option<String> {
    let mut arguments = arguments.peekable();
    let mut core = None;
    let mut facade = None;
    while let Some(argument) = arguments.next() {
        if argument == "--crate-name" && arguments.peek().is_some_and(|name| name == FACADE) {
            return None;
        }
        let value = match argument.strip_prefix("--extern") {
            Some("") => arguments.next()?,
            Some(rest) => rest.strip_prefix('=')?.to_owned(),
            None => continue,
        };
        // `priv,noprelude:name=path`
        let (name, path) = value.split_once('=').unwrap_or((&value, ""));
        let name = name.rsplit(':').next().unwrap_or(name);
        if name == FACADE {
            return None;
        }
        match library(path).unwrap_or(name) {
            FACADE => facade = Some(name.to_owned()),
            CORE => core = Some(name.to_owned()),
            _ => {}
        }
    }
    facade.or(core)
}

/// `flagcache` of `…/libflagcache-0123.rmeta`
fn library(path: &str) -> Option<&str> {
    let stem = Path::new(path).file_stem()?.to_str()?.strip_prefix("lib")?;
    Some(stem.split_once('-').map_or(stem, |(name, _)| name))
}
