//! Small line plots as inline SVG: no script, no asset, colours from the page's style.

use maud::{Markup, html};

/// Of the drawing, in its own units; the page scales it.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 96.0;
/// Around the line, so that its ends are seen whole.
const MARGIN: f64 = 6.0;

/// A point of a plot, left to right.
pub struct Point {
    /// What is plotted.
    pub value: u64,
    /// What stands at the point when it is pointed at.
    pub label: String,
    /// Whether it is one of a failed run.
    pub failed: bool,
}

/// A plot with its title, from 0 to the largest value, which is written out by `unit`.
pub fn line(title: &str, points: &[Point], unit: impl Fn(u64) -> String) -> Markup {
    let most = points.iter().map(|point| point.value).max().unwrap_or(0);
    let last = points.last().map_or(0, |point| point.value);
    let places: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .map(|(at, point)| place(at, points.len(), point.value, most))
        .collect();
    let path = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect::<Vec<_>>()
        .join(" ");
    html! {
        figure {
            figcaption { (title) " " b { (unit(last)) } span.most { "max " (unit(most)) } }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(format!("{title}: {} points, last {}, at most {}", points.len(), unit(last), unit(most))) {
                line.base x1="0" y1=(HEIGHT - MARGIN) x2=(WIDTH) y2=(HEIGHT - MARGIN) {}
                polyline points=(path) {}
                @for (point, (x, y)) in points.iter().zip(&places) {
                    circle.bad[point.failed] cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="2.5" { title { (point.label) ": " (unit(point.value)) } }
                }
            }
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a picture of some hundred units' width"
)]
fn place(at: usize, count: usize, value: u64, most: u64) -> (f64, f64) {
    let across = if count > 1 {
        at as f64 / (count - 1) as f64
    } else {
        0.5
    };
    let up = if most > 0 {
        value as f64 / most as f64
    } else {
        0.0
    };
    (
        MARGIN + across * (WIDTH - 2.0 * MARGIN),
        HEIGHT - MARGIN - up * (HEIGHT - 2.0 * MARGIN),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stay_in_the_picture() {
        for (at, count, value, most) in [
            (0, 1, 0, 0),
            (0, 2, 5, 5),
            (1, 2, 0, 5),
            (29, 30, u64::MAX, u64::MAX),
        ] {
            let (x, y) = place(at, count, value, most);
            assert!((MARGIN..=WIDTH - MARGIN).contains(&x), "{x}");
            assert!((MARGIN..=HEIGHT - MARGIN).contains(&y), "{y}");
        }
    }
}
