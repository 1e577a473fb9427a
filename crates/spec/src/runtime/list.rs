// SPDX-License-Identifier: Apache-2.0
//! Lists of CPUs and memory nodes, as cpuset(7) writes them: `0-3,7`.

/// More than any machine has; a list is written out, so a range must not fill the memory.
const HIGHEST: u32 = 65_535;

/// The numbers of a list, in its order. The error says what is wrong.
pub fn number_list(text: &str) -> Result<Vec<u32>, String> {
    let wrong = || format!("must be a list such as \"0-3,7\", got {text:?}");
    let number =
        |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number <= HIGHEST).ok_or_else(wrong);
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_numbers() {
        assert_eq!(number_list("0-2,7").unwrap(), [0, 1, 2, 7]);
        assert!(number_list("").unwrap().is_empty());
        for wrong in ["x", "3-1", "1-", "-1", "0-4294967295"] {
            number_list(wrong).unwrap_err();
        }
    }
}
