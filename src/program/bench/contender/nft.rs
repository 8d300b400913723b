//! nftables, asked by way of `nft`.

use super::ContenderError;
use crate::{
    host::{HostError, netns::Namespace},
    lab::{LabError, SideCommand},
};
use std::{io::Write, process::Stdio};

/// Puts rules into force, all of them or none. Says why where this machine cannot have them.
pub(in crate::bench) fn load(side: &Namespace, rules: &str) -> Result<Result<(), String>, ContenderError> {
    let nft = SideCommand::inside(side, "nft").args(["-f", "-"]);
    let nft = nft.with(|it| it.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut nft = match nft.spawn() {
        Err(LabError::Host(HostError::CannotStart { source, .. })) => {
            let remedy = "install nftables, as by `apt install nftables`, or name the contenders without it";
            return Ok(Err(format!("nft did not start ({source}): {remedy}")));
        }
        other => other?,
    };
    let written = nft.stdin.take().map_or(Ok(()), |mut input| input.write_all(rules.as_bytes()));
    let output = nft.wait_with_output().map_err(|error| ContenderError::system("wait for nft", error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default();
        return Ok(Err(format!("nft said {said:?}: this kernel lacks something that the rules ask for")));
    }
    written.map_err(|error| ContenderError::system("hand nft its rules", error))?;
    Ok(Ok(()))
}
