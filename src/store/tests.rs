use super::*;
use serde_json::json;

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn row(cells: &[Vec<u8>]) -> Row {
    Row {
        cells: cells.to_vec(),
    }
}

fn skipped(index: usize) -> MissingRow {
    MissingRow {
        index,
        key: "bad.jpg".into(),
        reason: "damaged".into(),
        stamp: None,
        content: None,
    }
}

fn summary() -> Column {
    Column::fixed("summary", Dtype::F32, &[2])
}

#[test]
fn rows_that_were_not_committed_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Writer::open(folder.path(), json!("a"), 3).unwrap();
    let mut writer = open();
    writer.declare(&[summary()]).unwrap();
    writer
        .append(&[row(&[floats(&[1.0, 2.0])])], vec![])
        .unwrap();
    writer.commit().unwrap();
    writer
        .append(&[row(&[floats(&[9.0, 9.0])])], vec![])
        .unwrap();
    drop(writer);

    let mut writer = open();
    assert_eq!((writer.done(), writer.is_complete()), (1, false));
    writer.declare(&[summary()]).unwrap();
    let rows = [row(&[floats(&[3.0, 4.0])])];
    writer.append(&rows, vec![skipped(1)]).unwrap();
    writer.commit().unwrap();
    drop(writer);

    let writer = open();
    assert!(writer.is_complete());
    let reader = Reader::new(vec![writer.finish().unwrap()]);
    assert_eq!(reader.rows(), 2);
    let column = reader.column("summary").unwrap();
    assert_eq!(column.floats().unwrap(), [[1.0, 2.0, 3.0, 4.0]]);
    assert_eq!(reader.skipped().count(), 1);
    assert!(reader.column("spatial").is_err());
}

#[test]
fn columns_of_every_type_and_length_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let columns = [
        summary(),
        Column::ragged("a/b.tokens", Dtype::Bf16, &[3]),
        Column::fixed("label", Dtype::I64, &[]),
    ];
    let open = || Writer::open(folder.path(), json!(1), 4).unwrap();
    let cells = |tokens: usize, n: u8| {
        row(&[
            floats(&[f32::from(n), 0.5]),
            vec![n; tokens * 6],
            i64::from(n).to_le_bytes().to_vec(),
        ])
    };
    let mut writer = open();
    writer.declare(&columns).unwrap();
    writer.append(&[cells(2, 1), cells(0, 2)], vec![]).unwrap();
    writer.commit().unwrap();
    drop(writer);
    let mut writer = open();
    writer.declare(&columns).unwrap();
    writer.append(&[cells(5, 3), cells(1, 4)], vec![]).unwrap();
    writer.commit().unwrap();
    let reader = Reader::new(vec![writer.finish().unwrap()]);
    let tokens = reader.column("a/b.tokens").unwrap();
    let lengths: Vec<usize> = (0..4).map(|i| tokens.row(i).unwrap().len() / 6).collect();
    assert_eq!(lengths, [2, 0, 5, 1]);
    assert_eq!(tokens.row(2).unwrap(), [3; 30]);
    assert_eq!(tokens.row(4), None);
    let label = reader.column("label").unwrap();
    assert_eq!(label.row(3).unwrap(), 4i64.to_le_bytes());
    assert!(label.floats().is_err());
}

#[test]
fn a_row_of_another_size_is_refused_and_leaves_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(folder.path(), json!(1), 2).unwrap();
    writer.declare(&[summary()]).unwrap();
    writer
        .append(&[row(&[floats(&[1.0, 2.0])])], vec![])
        .unwrap();
    let error = writer.append(&[row(&[floats(&[1.0])])], vec![]);
    assert!(error.unwrap_err().to_string().contains("summary"));
    let other = Column::fixed("summary", Dtype::F32, &[3]);
    assert!(writer.declare(&[other]).is_err());
    writer.commit().unwrap();
    assert_eq!(writer.header().done, 1);
}

#[test]
fn another_key_starts_afresh_and_what_is_mapped_stays() {
    let folder = tempfile::tempdir().unwrap();
    let fill = |key: &str, value: f32| {
        let mut writer = Writer::open(folder.path(), json!(key), 1).unwrap();
        assert!(!writer.is_complete());
        writer.declare(&[summary()]).unwrap();
        writer
            .append(&[row(&[floats(&[value, value])])], vec![])
            .unwrap();
        writer.commit().unwrap();
        Reader::new(vec![writer.finish().unwrap()])
    };
    let old = fill("a", 1.0);
    let new = fill("b", 2.0);
    assert_eq!(old.column("summary").unwrap().floats().unwrap(), [[1.0; 2]]);
    assert_eq!(new.column("summary").unwrap().floats().unwrap(), [[2.0; 2]]);
}

#[test]
fn damage_starts_afresh() {
    for (file, text) in [
        ("header.json", ""),
        ("header.json", "{}"),
        ("summary.values", "x"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), json!(1), 1).unwrap();
        writer.declare(&[summary()]).unwrap();
        writer
            .append(&[row(&[floats(&[1.0, 2.0])])], vec![])
            .unwrap();
        writer.commit().unwrap();
        drop(writer);
        std::fs::write(folder.path().join(file), text).unwrap();
        let writer = Writer::open(folder.path(), json!(1), 1).unwrap();
        assert_eq!(writer.done(), 0, "{file} {text:?}");
        assert!(!folder.path().join("summary.values").exists());
    }
}

#[test]
fn parts_of_several_processes_read_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let (total, batch) = (7, 2);
    let mut images = 0;
    for rank in [2, 0, 1] {
        assert!(complete(folder.path(), &json!(1), total).unwrap().is_none());
        let share = Share { rank, world: 3 };
        let range = share.range(total, batch);
        assert_eq!(range.start % batch, 0);
        images += range.len();
        let part = part_folder(folder.path(), share);
        let mut writer = Writer::open(&part, json!(1), range.len()).unwrap();
        writer.declare(&[summary()]).unwrap();
        for image in range {
            let cells = [floats(&[image as f32, 0.0])];
            writer.append(&[row(&cells)], vec![]).unwrap();
        }
        writer.commit().unwrap();
    }
    assert_eq!(images, total);
    assert!(complete(folder.path(), &json!(2), total).unwrap().is_none());
    let reader = complete(folder.path(), &json!(1), total).unwrap().unwrap();
    let summaries = reader.column("summary").unwrap().floats().unwrap().concat();
    let first: Vec<f32> = summaries.iter().copied().step_by(2).collect();
    assert_eq!(first, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(Share::ALL.range(7, 2), 0..7);
}

/// Numbers in a key come back from the header as they were.
#[test]
fn a_key_with_any_number_finds_its_rows_again() {
    let mean: Vec<f64> = [0.481_454_67_f32, 0.457_827_5, 0.408_210_72]
        .map(f64::from)
        .to_vec();
    let key = json!({"mean": mean, "std": 0.1 + 0.2, "eps": 1e-6 / 3.0});
    let folder = tempfile::tempdir().unwrap();
    for done in [0, 1] {
        let mut writer = Writer::open(folder.path(), key.clone(), 1).unwrap();
        assert_eq!(writer.done(), done);
        if done == 0 {
            writer.declare(&[summary()]).unwrap();
            writer
                .append(&[row(&[floats(&[1.0, 2.0])])], vec![])
                .unwrap();
            writer.commit().unwrap();
        }
    }
}
