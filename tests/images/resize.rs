use super::{json, pattern, sha256, sizes};
use radio_eval::data::resize::{Filter, Region, Target, resize};

#[test]
fn bytes_equal_pillow() {
    for row in json("resize.json").as_array().expect("rows") {
        let [h, w, oh, ow] = sizes(row);
        let filter: Filter = serde_json::from_value(row[4].clone()).expect("a filter");
        let image = resize(&pattern(h, w), ow, oh, filter);
        assert_eq!(row[5], sha256(&image.data), "{row}");
    }
}

#[test]
fn a_region_is_a_part_of_the_whole() {
    let image = pattern(61, 83);
    let region = Region {
        x: 7,
        y: 11,
        width: 20,
        height: 9,
    };
    for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic] {
        for (width, height) in [(40, 30), (83, 30), (40, 61), (100, 120)] {
            let whole = resize(&image, width, height, filter);
            let target = Target {
                width,
                height,
                filter,
                region,
            };
            let part = target.apply(&(&image).into());
            for y in 0..region.height {
                let row = &whole.row(y + region.y)[region.x * 3..(region.x + region.width) * 3];
                assert_eq!(part.row(y), row, "{filter:?} {width}x{height} row {y}");
            }
        }
    }
}
