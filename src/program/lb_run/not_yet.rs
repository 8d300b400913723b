//! What the file may say and nobody does yet.

use crate::lb_file::File;

/// A sentence for each such thing that the file says.
pub(super) fn of(file: &File) -> Vec<String> {
    let cookies = file
        .cookie_master_file
        .as_ref()
        .map(|path| format!("{} is not used yet: nobody answers SYNs here but backends", path.display()));
    cookies.into_iter().collect()
}
