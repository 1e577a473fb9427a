// SPDX-License-Identifier: Apache-2.0
//! On directories that look like the file system: few machines have the processor for it.

use super::*;

/// A mount point whose groups begin with these schemata.
fn filesystem() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for group in ["", "gold/"] {
        file(&format!("{group}schemata"), "    L3:0=fff;1=fff\n    MB:0=100;1=100\n");
        file(&format!("{group}tasks"), "");
        fs::create_dir_all(root.path().join(format!("{group}mon_groups"))).unwrap();
    }
    file("info/L3/cbm_mask", "fff\n");
    file("info/L3/min_cbm_bits", "2\n");
    file("info/L3/num_closids", "16\n");
    file("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\n");
    file("info/last_cmd_status", "mask f0f0 has non-consecutive 1-bits\n");
    root
}

fn place(root: &tempfile::TempDir, json: &str) -> Result<Record> {
    let root = root.path().to_str().unwrap();
    let wanted = Resctrl::of(&serde_json::from_str(json).unwrap(), "web");
    let mut record = Record { id: "web".into(), ..Record::default() };
    wanted.locate(root, &mut record)?;
    wanted.make(root, &record)?;
    Ok(record)
}

#[test]
fn names_and_order_are_the_specifications() {
    let json = r#"{"closID":"gold","schemata":["L2:0=f"],"memBwSchema":"MB:0=20","l3CacheSchema":"L3:0=f","enableMonitoring":true}"#;
    let wanted = Resctrl::of(&serde_json::from_str(json).unwrap(), "web");
    let schemata = ["L3:0=f", "MB:0=20", "L2:0=f"].map(String::from).into();
    let expected = Resctrl { group: "gold".into(), own: false, schemata, monitor: Some("web".into()) };
    assert_eq!(wanted, expected);
    let default = Resctrl::of(&serde_json::from_str(r#"{"closID":"/"}"#).unwrap(), "web");
    assert_eq!((default.group.as_str(), default.own), ("", false));
    assert!(Resctrl::of(&IntelRdt::default(), "web").own);
}

#[test]
fn a_group_of_the_containers_own_comes_and_goes_with_it() {
    let root = filesystem();
    let record = place(&root, r#"{"enableMonitoring":false}"#).unwrap();
    assert_eq!(record.intel_rdt_path, root.path().join("web").to_str().unwrap());
    // The kernel would have made its files.
    fs::write(root.path().join("web/tasks"), "").unwrap();
    enter(&record, 77).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("web/tasks")).unwrap(), "77");
    fs::remove_file(root.path().join("web/tasks")).unwrap();
    remove(&record).unwrap();
    assert!(!root.path().join("web").exists());
    remove(&record).unwrap();
}

#[test]
fn a_group_of_others_stays() {
    let root = filesystem();
    let record =
        place(&root, r#"{"closID":"gold","enableMonitoring":true,"l3CacheSchema":"L3:0=0fff"}"#).unwrap();
    assert!(root.path().join("gold/mon_groups/web").is_dir());
    remove(&record).unwrap();
    assert!(!root.path().join("gold/mon_groups/web").exists());
    assert!(root.path().join("gold").is_dir());
    let refused = place(&root, r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#).unwrap_err().to_string();
    assert!(refused.contains("the group exists without \"L3:0=f\""), "{refused}");
    let refused = place(&root, r#"{"closID":"silver"}"#).unwrap_err().to_string();
    assert!(refused.contains("no schema to make it with"), "{refused}");
}

#[test]
fn the_kernels_own_words_are_told() {
    let root = filesystem();
    // A group that was just made has no file in this imitation: the write fails as a refused one would.
    let refused = place(&root, r#"{"l3CacheSchema":"L3:0=f0f0"}"#).unwrap_err().to_string();
    assert!(refused.ends_with("(last_cmd_status: mask f0f0 has non-consecutive 1-bits)"), "{refused}");
}

#[test]
fn counters_have_runcs_names() {
    let root = filesystem();
    let record = place(&root, r#"{"closID":"gold","enableMonitoring":true}"#).unwrap();
    let cache = root.path().join("gold/mon_groups/web/mon_data/mon_L3_00");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("mbm_total_bytes"), "9\n").unwrap();
    fs::write(cache.join("llc_occupancy"), "7\n").unwrap();
    let stats = IntelRdtStats::read(root.path().to_str().unwrap(), &record).unwrap();
    assert_eq!(
        serde_json::to_value(stats).unwrap(),
        serde_json::json!({
            "l3_cache_info": { "cbm_mask": "fff", "min_cbm_bits": 2, "num_closids": 16 },
            "l3_cache_schema_root": "L3:0=fff;1=fff", "l3_cache_schema": "L3:0=fff;1=fff",
            "schemata": ["L3:0=fff;1=fff", "MB:0=100;1=100"],
            "mbm_stats": [{ "mbm_total_bytes": 9, "mbm_local_bytes": 0 }], "cmt_stats": [{ "llc_occupancy": 7 }]
        })
    );
}

#[test]
fn the_mount_point_is_where_it_is_mounted() {
    let table = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n40 31 0:37 / /mnt/rdt rw shared:5 - resctrl resctrl rw\n";
    assert_eq!(mounted(table).as_deref(), Some("/mnt/rdt"));
    assert_eq!(mounted("31 23 0:28 / /sys rw - sysfs sysfs rw\n"), None);
}
