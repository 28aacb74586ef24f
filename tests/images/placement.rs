//! Where a transform says it put an image, against where its pixels are.

use radio_eval::data::annotation::{IGNORE, LabelMap};
use radio_eval::data::geometry::BoundingBox;
use radio_eval::data::image::RgbImage;
use radio_eval::data::resize::{Filter, Region};
use radio_eval::data::transform::{Mode, Placement, Transform};

fn corners(x0: f64, y0: f64, x1: f64, y1: f64) -> BoundingBox {
    BoundingBox { x0, y0, x1, y1 }
}

/// Equal but for the rounding of a division.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-10
}

fn fit(height: usize, width: usize) -> Transform {
    Transform::new(Mode::Fit { height, width }, 1)
}

#[test]
fn placements_worked_by_hand() {
    // segment-anything: int(427 * 1.6 + 0.5) = 683 rows, and the ratio is that of rounded sides.
    let sam = Transform::sam(1024).placement(427, 640).expect("it fits");
    assert_eq!((sam.resized, sam.size), ((683, 1024), (683, 1024)));
    assert_eq!(sam.scale, (1024.0 / 640.0, 683.0 / 427.0));
    assert_eq!(sam.point_in_result([640.0, 427.0]), [1024.0, 683.0]);
    assert_eq!(sam.point_in_result([10.0, 0.0]), [16.0, 0.0]);

    // torchvision's Resize(256), CenterCrop(224) of 500x375: 341x256, cut at 58 (58.5 to even), 16.
    let crop = Transform::crop(256, 224)
        .placement(375, 500)
        .expect("it fits");
    assert_eq!((crop.resized, crop.size), ((256, 341), (224, 224)));
    assert_eq!(crop.inset, (-58.0, -16.0));
    assert_eq!(crop.point_in_result([250.0, 187.5]), [112.5, 112.0]);
    let [x, y] = crop.point_in_image([112.5, 112.0]);
    assert!(near(x, 250.0) && near(y, 187.5), "{x}, {y}");
    let cut = crop.box_in_result(&corners(0.0, 0.0, 500.0, 375.0));
    assert_eq!(cut, corners(-58.0, -16.0, 283.0, 240.0));
    assert_eq!(cut.clipped(224, 224), corners(0.0, 0.0, 224.0, 224.0));
    assert_eq!(crop.shown, Region::whole(224, 224));

    // 130x97 fits into 40x40 as 40x30, five rows of black above and below.
    let padded = fit(40, 40).placement(97, 130).expect("it fits");
    assert_eq!((padded.inset, padded.size), ((0.0, 5.0), (40, 40)));
    let inside = padded.box_in_result(&BoundingBox::from_xywh([13.0, 9.7, 52.0, 38.8]));
    assert!(near(inside.x0, 4.0) && near(inside.y0, 8.0), "{inside:?}");
    assert!(near(inside.x1, 20.0) && near(inside.y1, 20.0), "{inside:?}");
    assert!(near(inside.width(), 16.0) && near(inside.height(), 12.0));
    let shown = Region {
        x: 0,
        y: 5,
        width: 40,
        height: 30,
    };
    assert_eq!(padded.shown, shown);

    // Mirrored, a box's left edge becomes the right one, as far from the border.
    let mirrored = crop.mirrored();
    let bounds = corners(100.0, 50.0, 250.0, 187.5);
    let (plain, mirror) = (crop.box_in_result(&bounds), mirrored.box_in_result(&bounds));
    assert!(near(mirror.x0, 224.0 - plain.x1) && near(mirror.x1, 224.0 - plain.x0));
    assert_eq!((mirror.y0, mirror.y1), (plain.y0, plain.y1));
    let back = mirrored.box_in_image(&mirror);
    assert!(near(back.x0, bounds.x0) && near(back.x1, bounds.x1));
    let wide = Placement::unchanged(4, 6).padded(10, 2);
    assert_eq!((wide.size, wide.shown), ((10, 6), Region::whole(6, 4)));
}

/// Pillow's nearest neighbour shows at each output pixel what lies under its centre: so a
/// rectangle of the image is exactly the pixels whose centres are in its placed box, in every mode.
#[test]
fn pixels_and_labels_are_where_the_placement_says() {
    let (height, width) = (97, 130);
    let (x0, y0, x1, y1) = (23, 31, 77, 64);
    let inside = |x: usize, y: usize| (x0..x1).contains(&x) && (y0..y1).contains(&y);
    let mut image = RgbImage::black(width, height);
    let mut labels = vec![0; width * height];
    let pixels = image.data.chunks_exact_mut(3).zip(&mut labels);
    for (at, (pixel, label)) in pixels.enumerate() {
        if inside(at % width, at / width) {
            pixel.fill(255);
            *label = 7;
        }
    }
    let map = LabelMap {
        width,
        height,
        labels,
    };
    let bounds = corners(x0 as f64, y0 as f64, x1 as f64, y1 as f64);
    let rectangle = |height, width| Transform::new(Mode::Cover { height, width }, 1);
    let transforms = [
        Transform::shortest(48, 16),
        Transform::new(Mode::Longest(211), 1),
        Transform::squash(33),
        Transform::sam(64),
        Transform::sam_padded(64),
        Transform::crop(64, 48),
        // A crop that is larger than the image pads it.
        Transform::crop(30, 61),
        rectangle(20, 70),
        rectangle(97, 40),
        fit(40, 9),
        fit(201, 300),
    ];
    for transform in transforms {
        let nearest = Transform {
            filter: Filter::Nearest,
            ..transform
        };
        let placement = nearest.placement(height, width).expect("it fits");
        let result = nearest.apply(&image).expect("it fits");
        let placed = transform.apply_labels(&map).expect("it fits");
        assert_eq!(placement.size, (result.height, result.width));
        assert_eq!(placement.size, (placed.height, placed.width));
        let bounds = placement.box_in_result(&bounds);
        let shown = placement.shown;
        for at in 0..result.width * result.height {
            let (column, row) = (at % result.width, at / result.width);
            let (x, y) = (column as f64 + 0.5, row as f64 + 0.5);
            let in_box = bounds.x0 <= x && x < bounds.x1 && bounds.y0 <= y && y < bounds.y1;
            let at_image = (shown.x..shown.x + shown.width).contains(&column)
                && (shown.y..shown.y + shown.height).contains(&row);
            let label = match (at_image, in_box) {
                (false, _) => IGNORE,
                (true, in_box) => 7 * u8::from(in_box),
            };
            assert_eq!(placed.labels[at], label, "{transform:?} at {column}, {row}");
            let colour = result.row(row)[column * 3];
            assert_eq!(
                colour == 255,
                at_image && in_box,
                "{transform:?} at {column}, {row}"
            );
        }
    }
}

#[test]
fn labels_shrink_as_pillows_nearest() {
    // Pillow takes the pixel under (x + 0.5) * 5 / 2: columns 1 and 3.
    let map = LabelMap {
        width: 5,
        height: 2,
        labels: vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    };
    let shrunk = Transform::squash(2).apply_labels(&map).expect("it fits");
    assert_eq!((shrunk.width, shrunk.height), (2, 2));
    assert_eq!(shrunk.labels, [1, 3, 6, 8]);
}
