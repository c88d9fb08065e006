use super::*;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn read(text: &str) -> Result<Scenario, ScenarioError> {
    Scenario::parse("try", "try.toml", text)
}

fn told(text: &str) -> Vec<String> {
    read(text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

const HEAD: &str = "title = \"t\"\nabout = \"a\"\nlength = \"60s\"\n";

fn value(scenario: &Scenario, at: f64) -> f64 {
    match scenario.reading("s.p", secs(at)).unwrap().signal {
        Signal::Value(value) => value,
        Signal::Code(_) | Signal::Silent => panic!("no value at {at}"),
    }
}

#[test]
fn a_ramp_is_straight_a_step_stays_and_the_end_holds() {
    let scenario = read(&format!("{HEAD}[[point]]\npoint = \"s.p\"\nkeyframes = [{{ at = \"10s\", value = 1 }}]"));
    assert!(scenario.is_err(), "nothing is said of the first ten seconds");
    let scenario = read(&format!(
        "{HEAD}[[point]]\npoint = \"s.p\"\nkeyframes = [{{ at = \"0s\", value = 1.0 }}, {{ at = \"10s\", value = 2.0, shape = \"step\" }}, {{ at = \"20s\", value = 4.0 }}, {{ at = \"30s\", value = 0.0 }}]"
    ))
    .unwrap();
    let at = |seconds| value(&scenario, seconds);
    assert_eq!((at(0.0), at(5.0)), (1.0, 1.5));
    assert!((at(9.999) - 1.9999).abs() < 1e-9);
    assert_eq!((at(10.0), at(19.999)), (2.0, 2.0));
    assert_eq!((at(20.0), at(25.0), at(30.0), at(500.0)), (4.0, 2.0, 0.0, 0.0));
    assert_eq!(scenario.reading("s.other", secs(1.0)), None);
}

#[test]
fn noise_stays_within_its_bound_and_a_stuck_sensor_has_none() {
    let scenario = read(&format!(
        "{HEAD}repeat = true\n[[point]]\npoint = \"s.p\"\nnoise = 0.05\nkeyframes = [{{ at = \"0s\", value = 1, shape = \"step\" }}, {{ at = \"30s\", value = 1, shape = \"flat\" }}]"
    ))
    .unwrap();
    let noisy: Vec<f64> = (0..300).map(|tenth| value(&scenario, f64::from(tenth) / 10.0 + 0.05)).collect();
    assert!(noisy.iter().all(|value| (0.95..=1.05).contains(value)));
    assert!(noisy.iter().filter(|value| (**value - 1.0).abs() > 0.01).count() > 100);
    assert!((300..600).all(|tenth| value(&scenario, f64::from(tenth) / 10.0) == 1.0));
    let again = value(&scenario, 12.0);
    assert_eq!(again.to_bits(), value(&scenario, 12.0).to_bits(), "the same moment gives the same reading");
    let next_round: Vec<f64> = (0..300).map(|tenth| value(&scenario, 60.05 + f64::from(tenth) / 10.0)).collect();
    assert_ne!(noisy, next_round, "a repeat has noise of its own");
}

#[test]
fn silence_codes_and_wrong_clocks_come_and_go() {
    let scenario = read(&format!(
        "{HEAD}repeat = true\n[[point]]\npoint = \"s.p\"\nkeyframes = [{{ at = \"0s\", value = 3, clock_offset = \"-2h\" }}, {{ at = \"10s\", silent = true }}, {{ at = \"20s\", code = 32767, clock_offset = \"+90s\" }}, {{ at = \"30s\", value = 5 }}]"
    ))
    .unwrap();
    let at = |seconds| scenario.reading("s.p", secs(seconds)).unwrap();
    assert_eq!(at(9.0), Reading { signal: Signal::Value(3.0), clock_offset_ms: -7_200_000 });
    assert_eq!(at(10.0), Reading { signal: Signal::Silent, clock_offset_ms: 0 });
    assert_eq!(at(29.9), Reading { signal: Signal::Code(32_767), clock_offset_ms: 90_000 });
    assert_eq!(at(59.0).signal, Signal::Value(5.0));
    assert_eq!(at(65.0), at(5.0), "after its length it starts over");
    assert_eq!(played(secs(20.0), 6.0), secs(120.0));
}

#[test]
fn every_mistake_is_told_with_file_key_and_expectation() {
    assert_eq!(told("title = \n")[0].split(": ").take(2).collect::<Vec<_>>(), ["try.toml", "line 1"]);
    assert_eq!(
        told("titel = \"x\"\nlength = 60\n"),
        [
            "try.toml: title: missing, expected a text in quotes",
            "try.toml: about: missing, expected a text in quotes",
            "try.toml: length: 60 is not a duration of at most 7d, such as \"500ms\", \"5s\" or \"3m\"",
            "try.toml: point: missing, expected [[point]] tables",
            "try.toml: titel: unknown key, known here are title, about, length, repeat, point",
        ]
    );
    let frames = |frames: &str| told(&format!("{HEAD}[[point]]\npoint = \"s.p\"\nkeyframes = [{frames}]"));
    assert_eq!(
        frames("{ at = \"5\", value = 1 }, { at = \"0s\", vlaue = 1 }"),
        [
            "try.toml: point[0].keyframes[0].at: \"5\" is not a duration of at most 7d, such as \"500ms\", \"5s\" or \"3m\"",
            "try.toml: point[0].keyframes[1].vlaue: unknown key, known here are at, value, shape, code, silent, clock_offset",
            "try.toml: point[0].keyframes[1]: expected exactly one of value, code and silent = true",
        ]
    );
    assert_eq!(
        frames("{ at = \"0s\", value = 1, shape = \"curve\" }"),
        ["try.toml: point[0].keyframes[0].shape: \"curve\" is not a shape, expected linear, step or flat"]
    );
    assert_eq!(
        frames(
            "{ at = \"0s\", value = 1 }, { at = \"0s\", silent = true }, { at = \"61s\", code = -1 }, { at = \"62s\", code = 1 }"
        ),
        [
            "try.toml: point[0].keyframes[1].at: 0ns is not after the keyframe before it, at 0ns",
            "try.toml: point[0].keyframes[2].code: -1 is not the contents of registers, expected 0..=4294967295",
            "try.toml: point[0].keyframes[3].at: 62s is after the scenario's length of 60s",
        ]
    );
    let two = "[[point]]\npoint = \"s.p\"\nkeyframes = [{ at = \"0s\", value = 1 }]\n";
    assert_eq!(
        told(&format!("{HEAD}{two}{two}")),
        ["try.toml: point[1].point: \"s.p\" is driven twice, give it one list of keyframes"]
    );
    assert!(told(&format!("{HEAD}[[point]]\npoint = \"p\"\nnoise = -1\nkeyframes = 3"))[0].contains("site.point"));
}

#[test]
fn every_shipped_file_can_be_played() {
    assert!(shipped_files().len() >= 8);
    for (name, _) in shipped_files() {
        let scenario = shipped(name).unwrap_or_else(|error| panic!("{error}"));
        assert!(!scenario.tracks.is_empty());
    }
    let message = shipped("methane").unwrap_err().to_string();
    assert!(message.contains("methane-ramp, h2s-leak"), "{message}");
}

#[test]
fn durations_are_written_as_people_write_them() {
    assert_eq!(duration_in("500ms"), Some(Duration::from_millis(500)));
    assert_eq!(duration_in("1.5s"), Some(Duration::from_millis(1_500)));
    assert_eq!(duration_in("2d"), Some(Duration::from_secs(172_800)));
    for wrong in ["", "5", "s", "-5s", "5 s", "1e3s", "5sec", "1.2.3s"] {
        assert_eq!(duration_in(wrong), None, "{wrong}");
    }
}
