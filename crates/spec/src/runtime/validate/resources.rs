// SPDX-License-Identifier: Apache-2.0
//! config-linux.md, "Control groups", as far as it is the same for every version of them.

use super::{Report, token};
use crate::runtime::{DeviceRule, IntelRdt, Resources};

impl Report {
    /// `at` is where the object is: empty for a document of its own.
    pub(super) fn resources(&mut self, at: &str, resources: &Resources) {
        for (index, rule) in resources.devices.iter().enumerate() {
            self.device_rule(&format!("{at}/devices/{index}"), rule);
        }
        if let Some(swappiness) = resources.memory.swappiness.filter(|value| *value > 100) {
            let message = format!("must be between 0 and 100, got {swappiness}");
            self.add(format!("{at}/memory/swappiness"), message);
        }
        for (index, limit) in resources.hugepage_limits.iter().enumerate() {
            if !is_page_size(&limit.page_size) {
                let message = format!("must be a size such as 2MB or 1GB, got {:?}", limit.page_size);
                self.add(format!("{at}/hugepageLimits/{index}/pageSize"), message);
            }
        }
        for (file, value) in &resources.unified {
            let here = format!("{at}/unified/{}", token(file));
            if file.contains('/') {
                self.add(&*here, format!("unified resource {file:?} must be a file name (no slashes)"));
            } else if !is_file_of_v2(file) {
                let message = format!("unified resource {file:?} must be in the form CONTROLLER.PARAMETER");
                self.add(&*here, message);
            }
            self.no_nul(&here, value);
        }
    }

    pub(super) fn intel_rdt(&mut self, rdt: &IntelRdt) {
        let id = &rdt.clos_id;
        if [".", ".."].contains(&id.as_str()) || (id.len() > 1 && id.contains('/')) {
            self.add("/linux/intelRdt/closID", format!("must be the name of a directory, or /, got {id:?}"));
        }
        if !rdt.mem_bw_schema.is_empty() && !rdt.mem_bw_schema.starts_with("MB:") {
            let message = format!("must start with MB:, got {:?}", rdt.mem_bw_schema);
            self.add("/linux/intelRdt/memBwSchema", message);
        }
        let mut lines = vec![
            ("l3CacheSchema".to_owned(), &rdt.l3_cache_schema),
            ("memBwSchema".to_owned(), &rdt.mem_bw_schema),
        ];
        lines
            .extend(rdt.schemata.iter().enumerate().map(|(index, line)| (format!("schemata/{index}"), line)));
        for (name, line) in lines {
            if line.contains('\n') {
                self.add(format!("/linux/intelRdt/{name}"), "must not contain a newline");
            }
        }
    }

    fn device_rule(&mut self, at: &str, rule: &DeviceRule) {
        if !["", "a", "b", "c"].contains(&rule.kind.as_str()) {
            self.add(format!("{at}/type"), format!("must be one of a, b, c, got {:?}", rule.kind));
        }
        if rule.access.is_empty() {
            self.add(at, "device access field cannot be empty");
        }
        if !rule.access.bytes().all(|letter| b"rwm".contains(&letter)) {
            self.add(format!("{at}/access"), format!("must be made of r, w, m, got {:?}", rule.access));
        }
        for (name, number, highest) in [("major", rule.major, 0xfff), ("minor", rule.minor, 0xf_ffff)] {
            if let Some(number) = number.filter(|number| !(-1..=highest).contains(number)) {
                let message = format!("must be between 0 and {highest}, or -1 for any, got {number}");
                self.add(format!("{at}/{name}"), message);
            }
        }
    }
}

/// As in the names of the kernel's files: `hugetlb.2MB.max`.
fn is_page_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_file_of_v2(name: &str) -> bool {
    let letters = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.')
    };
    name.split_once('.').is_some_and(|(controller, parameter)| letters(controller) && letters(parameter))
}
