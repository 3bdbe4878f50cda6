//! A row: what is measured, and what came of it.

use crate::Outcome;
use crate::workplace::Workplace;

/// Two ways to do the same, each returning how much of `unit` it does in a second, or, where that is one of time, how much of
/// it it takes.
pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    pub floor: Option<f64>,
    pub ours: fn(&Workplace) -> Outcome<f64>,
    pub raw: fn(&Workplace) -> Outcome<f64>,
}

impl Row {
    fn is_of_time(&self) -> bool {
        matches!(self.unit, "µs" | "ms")
    }

    /// How many times as fast ours is.
    fn ratio(&self, ours: f64, raw: f64) -> f64 {
        if self.is_of_time() { raw / ours } else { ours / raw }
    }

    pub fn measure(&self, rounds: usize) -> Outcome<Measured<'_>> {
        let mut pairs = Vec::new();
        for _ in 0..rounds.max(1) {
            // A new place each time, so that no round finds what another has left.
            let ours = (self.ours)(&Workplace::new()?)?;
            let raw = (self.raw)(&Workplace::new()?)?;
            pairs.push((ours, raw));
        }
        let sorted = |value: &dyn Fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = pairs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (ours, raw, ratios) =
            (sorted(&|pair| pair.0), sorted(&|pair| pair.1), sorted(&|pair| self.ratio(pair.0, pair.1)));
        Ok(Measured {
            row: self,
            ours: ours[ours.len() / 2],
            raw: raw[raw.len() / 2],
            ratio: ratios[ratios.len() / 2],
            spread: (ratios[0], ratios[ratios.len() - 1]),
        })
    }
}

pub struct Measured<'a> {
    row: &'a Row,
    ours: f64,
    raw: f64,
    ratio: f64,
    spread: (f64, f64),
}

impl Measured<'_> {
    fn verdict(&self) -> &'static str {
        match self.row.floor {
            Some(floor) if self.ratio < floor => "SHORT",
            _ => "ok",
        }
    }

    pub fn json(&self) -> String {
        let floor = self.row.floor.map_or("null".to_owned(), |floor| floor.to_string());
        format!(
            r#"{{"row": {:?}, "unit": {:?}, "ours": {:.1}, "raw": {:.1}, "ratio": {:.3}, "least": {:.3}, "most": {:.3}, "floor": {floor}, "verdict": {:?}}}"#,
            self.row.name,
            self.row.unit,
            self.ours,
            self.raw,
            self.ratio,
            self.spread.0,
            self.spread.1,
            self.verdict()
        )
    }
}

impl std::fmt::Display for Measured<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Row { name, unit, floor, .. } = self.row;
        let floor = floor.map_or("-".to_owned(), |floor| floor.to_string());
        let (least, most) = self.spread;
        let digits = usize::from(self.row.is_of_time());
        write!(
            f,
            "{name} | {:.digits$} {unit} | {:.digits$} {unit} | {:.2} ({least:.2} to {most:.2}) | {floor} | {}",
            self.ours,
            self.raw,
            self.ratio,
            self.verdict()
        )
    }
}
