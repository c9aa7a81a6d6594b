//! The front half of the pipeline in one call: walk, parse, resolve.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::diagnostic::{Code, Diagnostic, Diagnostics, SourceFile};
use crate::lock::LOCK_FILE;
use crate::registry::Registry;
use crate::{parse, resolve, shown, walk};

/// What of a folder is read, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection<'a> {
    /// Folder that a bundle is written to, which is not walked; relative to the root unless absolute.
    pub out: Option<&'a Path>,
    /// Profiles of `.wippy.yaml`, laid over it in this order.
    pub profiles: &'a [String],
}

/// Reads the registry in the folder `root`.
///
/// Every fault goes to `diagnostics`, and reading goes on with what is independent of it; entries that
/// can't be read are left out. `None` only when `root` is no readable folder.
pub fn read(root: &Path, selection: Selection<'_>, diagnostics: &mut Diagnostics) -> Option<Registry> {
    let folder = match root.canonicalize() {
        Ok(folder) if folder.is_dir() => folder,
        result => {
            let reason = match result {
                Ok(_) => "it is no folder".to_owned(),
                Err(error) => shown::io_reason(&error),
            };
            let message = format!("the root `{}` can't be used: {reason}", root.display());
            diagnostics.push(Diagnostic::new(Code::RootUnusable, message));
            return None;
        }
    };
    let config = Config::read(&folder, selection.profiles, diagnostics);
    let walked = walk::walk(&folder, selection.out, &config, diagnostics);
    let entries = parse::parse(&walked, diagnostics);
    if entries.is_empty() && !diagnostics.has_errors() {
        let diagnostic = Diagnostic::new(Code::RegistryEmpty, "no entries were found");
        let help = match folder.join(LOCK_FILE).is_file() {
            true => "the folder that `directories.src` of `wippy.lock` names holds no definition file",
            false => "a definition file has `namespace` and `entries`",
        };
        diagnostics.push(diagnostic.help(help));
    }
    Some(resolve::resolve(walked, entries, config, diagnostics))
}

/// The folder that `file`, a definition file of the registry in `root`, was loaded from as a module or
/// as the application: what `base: module` of an `fs.directory` means.
pub fn load_root(root: &Path, file: &SourceFile) -> PathBuf {
    let path = root.join(&file.path);
    let mut folders = path.ancestors().skip(1).take_while(|folder| *folder != root);
    folders.find(|folder| folder.join("wippy.yaml").is_file()).unwrap_or(root).to_owned()
}
