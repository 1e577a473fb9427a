// SPDX-License-Identifier: Apache-2.0
//! Whether a group that exists has the shares that a container asks for.
//!
//! `L3:0=7f0;1=1f` is in `L3:0=07f0;1=001f;2=fff`: caches hold bit masks in hexadecimal, `MB` decimal percentages.

use std::collections::BTreeMap;

use crate::{Error, ErrorKind, Result};

/// Every share in `asked` must be in `schemata`.
pub(super) fn check(asked: &[String], schemata: &str) -> Result<()> {
    let have: Vec<_> = schemata.lines().filter_map(parse).collect();
    for line in asked {
        let is_there = parse(line).is_some_and(|(name, shares)| {
            have.iter().any(|(known, held)| {
                *known == name && shares.iter().all(|(domain, share)| held.get(domain) == Some(share))
            })
        });
        if !is_there {
            let what = format!(
                "the group exists without {line:?}: write it to its schemata, or choose another closID"
            );
            return Err(Error::new(ErrorKind::Config, what));
        }
    }
    Ok(())
}

/// The resource, and each domain's share.
fn parse(line: &str) -> Option<(&str, BTreeMap<u32, u64>)> {
    let (name, domains) = line.trim().split_once(':')?;
    let radix = if name.starts_with('L') { 16 } else { 10 };
    let shares = domains.split(';').filter(|domain| !domain.trim().is_empty()).map(|domain| {
        let (domain, share) = domain.trim().split_once('=')?;
        let share = share.trim();
        let digits = share.strip_prefix("0x").filter(|_| radix == 16).unwrap_or(share);
        Some((domain.trim().parse().ok()?, u64::from_str_radix(digits, radix).ok()?))
    });
    Some((name, shares.collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_compared_as_numbers() {
        let held = "    L3:0=07f0;1=001f;2=fff\n    MB:0= 20;1=100\n";
        let agrees = |line: &str| check(&[line.to_owned()], held).is_ok();
        for line in ["L3:0=7f0;1=1f", "L3:2=0xfff", "MB:1=100", "MB:0=020"] {
            assert!(agrees(line), "{line}");
        }
        for line in ["L3:0=7f1", "L3:3=1", "MB:0=0x20", "L2:0=f", "nonsense", "L3:0"] {
            assert!(!agrees(line), "{line}");
        }
        check(&[], held).unwrap();
    }
}
