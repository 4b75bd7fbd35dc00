//! Lines over an axis, as SVG.

use std::error::Error;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 300);
const COLOURS: [RGBColor; 7] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(23, 190, 207),
    RGBColor(127, 127, 127),
];

/// Points with a name.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot over linear axes from 0 on.
///
/// # Errors
/// If the library cannot draw it.
pub(super) fn linear(title: &str, axes: [&str; 2], lines: &[Line<'_>]) -> anyhow::Result<String> {
    let [x, y] = largest(lines);
    draw(title, axes, lines, (0.0..x.max(1e-3), 0.0..(y * 1.05).max(1e-3)))
}

/// A plot over logarithmic axes, from the smallest value on.
///
/// # Errors
/// If the library cannot draw it.
pub(super) fn logarithmic(
    title: &str,
    axes: [&str; 2],
    lines: &[Line<'_>],
) -> anyhow::Result<String> {
    let [x, y] = largest(lines);
    let values = lines.iter().flat_map(|line| line.points.iter().map(|point| point.1));
    let least = values.fold(f64::INFINITY, f64::min).clamp(1e-3, 1e6);
    let x = (1.0..x.max(10.0)).log_scale();
    draw(title, axes, lines, (x, (least..y.max(least * 10.0)).log_scale()))
}

fn largest(lines: &[Line<'_>]) -> [f64; 2] {
    let points = lines.iter().flat_map(|line| &line.points);
    points.fold([0.0; 2], |[x, y], point| [f64::max(x, point.0), f64::max(y, point.1)])
}

fn draw<X, Y>(
    title: &str,
    axes: [&str; 2],
    lines: &[Line<'_>],
    ranges: (X, Y),
) -> anyhow::Result<String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw_on(&area, title, axes, lines, ranges)
        .map_err(|error| anyhow!("cannot plot {title}: {error}"))?;
    drop(area);
    Ok(svg)
}

fn draw_on<X, Y>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    [x_name, y_name]: [&str; 2],
    lines: &[Line<'_>],
    (x, y): (X, Y),
) -> Result<(), Box<dyn Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let failed = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    let number = |value: &f64| number(*value);
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .light_line_style(RGBColor(240, 240, 240))
        .draw()
        .map_err(failed)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), colour))
            .map_err(failed)?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    if lines.len() > 1 {
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8));
        labels.border_style(RGBColor(200, 200, 200)).draw().map_err(failed)?;
    }
    area.present().map_err(failed)?;
    Ok(())
}

/// As many digits as help.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 10.0 => format!("{value:.0}"),
        size if size >= 0.1 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
