//! Charts.

use std::ops::Range;
use std::path::Path;

use flagcache_benches::{Chart, Series};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (840, 460);
const FONT: &str = "sans-serif";
/// The legend lies over the lines' ground, which is that much higher for it.
const LEGEND: f64 = 1.35;
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1d, 0x4a, 0xff),
    RGBColor(0xf5, 0x4e, 0x00),
    RGBColor(0x38, 0x8e, 0x3c),
    RGBColor(0x8e, 0x24, 0xaa),
    RGBColor(0x6d, 0x4c, 0x41),
    RGBColor(0x75, 0x75, 0x75),
];

/// Draws a chart that has points; leaves out one that has none.
pub(crate) fn draw(chart: &Chart, path: &Path) {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let Some(x) = range(points().map(|point| point.0), chart.log[0], 1.0) else {
        return;
    };
    let Some(y) = range(points().map(|point| point.1), chart.log[1], LEGEND) else {
        return;
    };
    match chart.log {
        [true, true] => draw_on(chart, path, x.log_scale(), y.log_scale()),
        [true, false] => draw_on(chart, path, x.log_scale(), y),
        [false, true] => draw_on(chart, path, x, y.log_scale()),
        [false, false] => draw_on(chart, path, x, y),
    }
}

/// Room for all values, and for something of the part `above` of their height; from zero unless it is logarithmic.
fn range(values: impl Iterator<Item = f64>, log: bool, above: f64) -> Option<Range<f64>> {
    let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    if most <= 0.0 {
        return None;
    }
    if !log {
        return Some(0.0..most * above * 1.05);
    }
    let least = least.max(1e-3) * 0.8;
    Some(least..least * (most / least).powf(above) * 1.15)
}

fn draw_on<X, Y>(chart: &Chart, path: &Path, x: X, y: Y)
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let mut ground = ChartBuilder::on(&root)
        .caption(&chart.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)
        .unwrap();
    ground
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd))
        .label_style((FONT, 13))
        .x_desc(&chart.x)
        .y_desc(&chart.y)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()
        .unwrap();
    for (Series { name, points }, colour) in chart.series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        ground
            .draw_series(line)
            .unwrap()
            .label(name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        // Few points are measurements of their own; many are a curve.
        if points.len() < 20 {
            let dots = points
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled()));
            ground.draw_series(dots).unwrap();
        }
    }
    ground
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(0xbb, 0xbb, 0xbb))
        .label_font((FONT, 13))
        .draw()
        .unwrap();
    root.present().unwrap();
}

/// Without insignificant digits.
fn label(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{} M", value / 1e6),
        value if value >= 1e4 => format!("{} k", value / 1e3),
        value => format!("{}", (value * 1e3).round() / 1e3),
    }
}
