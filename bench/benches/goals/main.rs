//! Every goal that fits in a process: `goal N: VALUE (target OP T) [q1 .. q3] ok|short`.
//!
//! ```sh
//! cargo bench --bench goals            # all of them, and what is measured for the chart
//! cargo bench --bench goals -- 5 6     # these alone
//! cargo bench --bench goals -- peers stages
//! ```

mod allocations;
mod calls;
mod child;
mod goal;
mod handwritten;
mod instructions;
mod item;
mod paired;
mod peer;
mod report;
mod rig;
mod spread;

use std::env;

use report::Report;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

type Measure = fn(&mut Report);

/// Goals, the peers or the stages, and what measures them.
type Section = (&'static [&'static str], Measure);

const SECTIONS: &[Section] = &[
    (&["1", "9", "15"], goal::verify::measure),
    (&["2", "3", "4", "15"], goal::layer::measure),
    (&["stages"], goal::stages::measure),
    (&["5"], goal::refusals::measure),
    (&["6"], goal::guard::measure),
    (&["7"], goal::allocations::measure),
    (&["10"], goal::threads::measure),
    (&["11", "12"], |report| child::measure("size", report)),
    (&["13"], goal::cache::measure),
    (&["14"], |report| child::measure("changes", report)),
    (&["16"], goal::limits::measure),
    (&["17"], goal::leases::measure),
    (&["18"], goal::bounds::measure),
    (&["16", "peers"], peer::rates),
    (&["peers"], peer::measure),
];

/// What is measured in a process of its own, so that its memory is clean before and given back after.
const CHILDREN: &[(&str, Measure)] = &[("size", goal::size::measure), ("changes", goal::changes::measure)];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [flag, name] = &arguments[..]
        && flag == child::FLAG
    {
        let (_, measure) = CHILDREN.iter().find(|(child, _)| child == name).expect("a child");
        child::answer(*measure);
        return;
    }
    let known = SECTIONS.iter().map(|(names, _)| *names).collect::<Vec<_>>().concat();
    if let Some(unknown) = arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        eprintln!("unknown name {unknown}, expected one of: {}", known.join(" "));
        std::process::exit(2);
    }
    let is_wanted = |name: &&str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let mut report = Report::live();
    for (names, measure) in SECTIONS {
        if names.iter().any(is_wanted) {
            measure(&mut report);
        }
    }
    report.finish(arguments.is_empty());
}
