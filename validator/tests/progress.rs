//! A run says how far it is, on one thread and on several.

#![allow(clippy::unwrap_used, reason = "a test may end at once")]

use std::sync::{Arc, Mutex};

use sampan_validator::lint::{Progress, Settings, Stage, lint};

#[test]
fn every_root_module_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("main.tf"), "locals {\n}\n").unwrap();
    }
    for jobs in [1, 4] {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        let mut settings = Settings::new(vec![folder.path().to_owned()], "2027-01-15".into());
        settings.jobs = jobs;
        settings.progress = Progress(Some(Arc::new(move |stage| listener.lock().unwrap().push(stage))));
        lint(&settings).unwrap();
        let told = told.lock().unwrap();
        assert_eq!(told[..3], [Stage::Read(1), Stage::Read(2), Stage::Read(3)]);
        let mut done: Vec<usize> = told[3..]
            .iter()
            .map(|stage| match stage {
                Stage::Judged { done, of: 3 } => *done,
                other => panic!("{other:?}"),
            })
            .collect();
        done.sort_unstable();
        assert_eq!(done, [1, 2, 3]);
    }
}
