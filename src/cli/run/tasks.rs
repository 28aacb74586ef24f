//! The commands that a bench config may name. A new one is a line here.

/// How cells of a command are run.
#[derive(Debug)]
pub struct TaskCommand {
    /// The column's `task`: the words of the command.
    pub name: &'static str,
    /// Settings of a row that the command takes, and their flags.
    pub settings: &'static [(&'static str, &'static str)],
    /// The flag whose values may be given together: cells that differ in it alone are one run,
    /// whose features are computed once.
    pub joined: Option<&'static str>,
    /// Whether rows that differ in the model alone are measured in turns, in one run.
    pub in_turns: bool,
    /// Flag of the data set.
    pub data: Option<&'static str>,
    /// What `data` is by default.
    pub default_data: &'static str,
}

const FROZEN: &[(&str, &str)] = &[
    ("weights", "weights"),
    ("random_weights", "random-weights"),
    ("resolution", "resolution"),
    ("precision", "precision"),
    ("window", "window"),
    ("vitdet_window", "vitdet-window"),
    ("adaptor", "adaptor"),
];

pub static TASKS: &[TaskCommand] = &[
    TaskCommand {
        name: "imagenet",
        settings: FROZEN,
        joined: Some("task"),
        in_turns: false,
        data: Some("data"),
        default_data: "imagenet-1k",
    },
    TaskCommand {
        name: "ade20k",
        settings: &[
            ("weights", "weights"),
            ("random_weights", "random-weights"),
            ("resolution", "resolution"),
            ("precision", "precision"),
            ("window", "window"),
            ("vitdet_window", "vitdet-window"),
            ("adaptor", "adaptor"),
            ("preset", "preset"),
        ],
        joined: None,
        in_turns: false,
        data: Some("data"),
        default_data: "ade20k",
    },
    TaskCommand {
        name: "coco",
        settings: &[
            ("weights", "weights"),
            ("random_weights", "random-weights"),
            ("precision", "precision"),
            ("window", "window"),
            ("vitdet_window", "vitdet-window"),
        ],
        joined: None,
        in_turns: false,
        data: Some("data"),
        default_data: "coco-2017",
    },
    TaskCommand {
        name: "latency",
        settings: &[
            ("weights", "weights"),
            ("resolution", "resolution"),
            ("precision", "dtype"),
            ("window", "window"),
            ("vitdet_window", "vitdet-window"),
        ],
        joined: None,
        in_turns: true,
        data: None,
        default_data: "",
    },
];

pub fn find(name: &str) -> Option<&'static TaskCommand> {
    TASKS.iter().find(|task| task.name == name)
}
