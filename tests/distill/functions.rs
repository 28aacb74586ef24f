//! Single functions.

use super::{apart, close, json, largest, matrix, numbers, shared, tensors};
use radio_eval::distill::balance::{Balancer, Balancing};
use radio_eval::distill::dropping;
use radio_eval::distill::ema::Ema;
use radio_eval::distill::losses::{
    FeatureLoss, Mixture, angle_loss, cosine_distance, dispersion, match_grids, smooth_l1,
};
use radio_eval::distill::optimiser::{Optimiser, Rule, Settings, clip_factor, norm};
use radio_eval::distill::schedule::CosineSchedule;
use tch::{Device, Kind, Tensor};

#[test]
fn losses_and_their_gradients() {
    let Some(path) = shared("golden/distill/functions.safetensors") else {
        return;
    };
    let golden = tensors(&path);
    type Loss = fn(&Tensor, &Tensor) -> Tensor;
    let losses: [(&str, Loss, f64); 4] = [
        ("cosine", cosine_distance, 2e-6),
        ("angle", |x, y| angle_loss(x, y, 0.694), 5e-6),
        ("smooth_l1", |x, y| smooth_l1(x, y, 1.0), 2e-6),
        ("smooth_l1_beta_half", |x, y| smooth_l1(x, y, 0.5), 2e-6),
    ];
    for (name, loss, tolerance) in losses {
        let x = golden["x"].copy().set_requires_grad(true);
        let values = loss(&x, &golden["y"]);
        values.sum(Kind::Float).backward();
        let off = apart(&values.detach(), &golden[name]);
        assert!(off <= tolerance, "{name}: {off:e}");
        let off = apart(&x.grad(), &golden[&format!("{name}.grad")]);
        assert!(off <= tolerance, "gradient of {name}: {off:e}");
    }
    let wanted = golden["cone_dispersion"].double_value(&[0]);
    let found = dispersion(&golden["cone"].to_kind(Kind::Double));
    assert!((found - wanted).abs() <= 5e-6, "{found} {wanted}");
}

#[test]
fn grids_meet_at_the_larger_one() {
    let Some(path) = shared("golden/distill/functions.safetensors") else {
        return;
    };
    let golden = tensors(&path);
    for case in ["larger", "smaller", "mixed", "equal"] {
        let get = |what: &str| &golden[&format!("match_{case}.{what}")];
        let grids = Vec::<i64>::try_from(get("grids").flatten(0, -1)).unwrap();
        let (student, teacher) = match_grids(
            get("student"),
            (grids[0], grids[1]),
            get("teacher"),
            (grids[2], grids[3]),
        );
        assert!(apart(&student, get("student_out")) <= 2e-6, "{case}");
        assert!(apart(&teacher, get("teacher_out")) <= 2e-6, "{case}");
        let terms = FeatureLoss::CosSmoothL1.apply(&student, &teacher, Mixture::default());
        let (cosine, smooth) = terms.parts.unwrap();
        let found = Tensor::stack(&[terms.loss, cosine, smooth], 0);
        assert!(apart(&found, get("loss")) <= 2e-6, "{case}");
    }
}

/// Through the command, which reads any file of this kind.
#[test]
fn phi_s_and_hadamard() {
    let Some(path) = shared("golden/distill/phi_s.safetensors") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (case, out) = (folder.path().join("case"), folder.path().join("out"));
    std::fs::create_dir(&case).unwrap();
    std::fs::copy(&path, case.join("phi_s.safetensors")).unwrap();
    crate::common::stdout(
        crate::common::radio_eval(folder.path())
            .arg("distill-case")
            .args([&case, &out]),
    );
    let (golden, found) = (tensors(&path), tensors(&out.join("phi_s.safetensors")));
    let inputs = [".x", ".head_weight", ".head_bias"];
    let mut compared = 0;
    for (name, wanted) in &golden {
        if inputs.iter().any(|input| name.ends_with(input)) {
            continue;
        }
        let ours = &found[name];
        if name.starts_with("hadamard_") {
            assert_eq!(ours.kind(), wanted.kind());
            assert_eq!(apart(ours, wanted), 0.0, "{name}");
        } else {
            let off = apart(ours, wanted) / largest(wanted);
            assert!(off <= 2e-5, "{name}: {off:e}");
        }
        compared += 1;
    }
    assert!(compared >= 30, "{compared}");
    // Of features of rank 20 the variances are defined: those of y are 1.
    let y = found["w64_rank20.y"].to_kind(Kind::Double);
    let variance = y.var_dim([0i64].as_slice(), true, false);
    let off = (variance - 1.0).abs().max().double_value(&[]);
    assert!(off < 1e-5, "{off:e}");
}

#[test]
fn balancing() {
    let Some(path) = shared("golden/distill/balancing.json") else {
        return;
    };
    let golden = json(&path);
    let weights = numbers(&golden["weights"]);
    let losses: Vec<Vec<f64>> = (golden["losses"].as_array().unwrap().iter())
        .map(numbers)
        .collect();
    let balancer = |kind| Balancer::new(kind, weights.clone(), Device::Cpu);
    let compare = |found: &[f64], wanted: &serde_json::Value, what: &str| {
        for (found, wanted) in found.iter().zip(numbers(wanted)) {
            close(*found, wanted, what);
        }
    };
    let manual = balancer(Balancing::Manual);
    for (losses, total) in losses.iter().zip(numbers(&golden["manual"])) {
        close(manual.total(losses).unwrap(), total, "manual");
    }
    let mut ada = balancer(Balancing::AdaLoss);
    for (losses, step) in losses
        .iter()
        .zip(golden["adaloss"]["steps"].as_array().unwrap())
    {
        ada.observe(losses);
        let coefficients = ada.coefficients().unwrap();
        compare(&coefficients, &step["coefficients"], "adaloss");
        let total = ada.total(losses).unwrap();
        close(total, step["total"].as_f64().unwrap(), "adaloss total");
    }
    let uncertainty = balancer(Balancing::Uncertainty);
    let s = uncertainty.log_variance.as_ref().unwrap().shallow_clone();
    let parameters = [("balancing.log_variance".to_string(), s.shallow_clone())];
    let settings = Settings {
        rule: Rule::AdamW,
        weight_decay: 0.02,
        betas: (0.9, 0.999),
        eps: 1e-8,
        trust_clip: false,
    };
    let mut optimiser = Optimiser::new(settings, 1);
    for (losses, step) in losses
        .iter()
        .zip(golden["uncertainty"]["steps"].as_array().unwrap())
    {
        let total = uncertainty.total(losses).unwrap();
        close(total, step["total"].as_f64().unwrap(), "uncertainty total");
        let coefficients = uncertainty.coefficients().unwrap();
        compare(&coefficients, &step["coefficients"], "uncertainty");
        let gradient = uncertainty.log_variance_gradient(losses).unwrap().unwrap();
        let values = Vec::<f64>::try_from(&gradient).unwrap();
        compare(&values, &step["log_variance_grad"], "gradient of s");
        optimiser
            .step(&parameters, &[Some(gradient)], 0.01)
            .unwrap();
        let values = Vec::<f64>::try_from(s.detach()).unwrap();
        compare(&values, &step["log_variance_after"], "s");
    }
}

#[test]
fn teachers_are_dropped() {
    let Some(path) = shared("golden/distill/dropping.json") else {
        return;
    };
    let golden = json(&path);
    // As stored, in fp32: a draw of exactly p keeps its teacher.
    let single = |value| matrix(value).to_kind(Kind::Float);
    let (losses, draws) = (single(&golden["losses"]), single(&golden["draws"]));
    for case in golden["cases"].as_array().unwrap() {
        let p = case["p"].as_f64().unwrap();
        let keep = dropping::keep(&losses, &draws, p);
        assert_eq!(apart(&keep, &matrix(&case["keep"])), 0.0, "p = {p}");
        let (keep, losses) = (keep.to_kind(Kind::Double), losses.to_kind(Kind::Double));
        let total: Tensor = 3.0 * (&keep * losses).sum(Kind::Double) / keep.sum(Kind::Double);
        close(
            total.double_value(&[]),
            case["total"].as_f64().unwrap(),
            "total",
        );
    }
}

#[test]
fn schedule_average_and_optimisers() {
    let Some(path) = shared("golden/distill/schedule_ema_optimisers.json") else {
        return;
    };
    let golden = json(&path);
    for case in golden["schedule"].as_array().unwrap() {
        let schedule = CosineSchedule {
            base: case["base"].as_f64().unwrap(),
            floor: case["floor"].as_f64().unwrap(),
            warmup: case["warmup"].as_u64().unwrap(),
            total: case["total"].as_u64().unwrap(),
        };
        for pair in case["values"].as_array().unwrap() {
            let (step, rate) = (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap());
            assert!((schedule.rate(step) / rate - 1.0).abs() < 1e-6, "{step}");
        }
    }
    let ema_golden = &golden["ema"];
    let weights = Tensor::from_slice(&numbers(&ema_golden["start"]));
    let parameters = [("p".to_string(), weights.shallow_clone())];
    let mut ema = Ema::new(0.99, false, &parameters);
    for step in ema_golden["steps"].as_array().unwrap() {
        let mut weights = weights.shallow_clone();
        weights.copy_(&Tensor::from_slice(&numbers(&step["weights"])));
        ema.update(&parameters);
        let wanted = Tensor::from_slice(&numbers(&step["ema"]));
        assert!(apart(&ema.averages[0], &wanted) < 1e-9);
    }
    let warmed = Ema::new(0.9999, true, &parameters);
    let wanted =
        ema_golden["warmed_decay (cap 0.9999) at updates 0,1,2,10,100,1000,100000"].clone();
    for (update, wanted) in [0, 1, 2, 10, 100, 1000, 100_000]
        .into_iter()
        .zip(numbers(&wanted))
    {
        close(warmed.decay(update), wanted, "decay");
    }
    let gradients = [
        Some(Tensor::from_slice(&[3.0f64, 4.0])),
        Some(Tensor::from_slice(&[12.0f64]).view([1, 1])),
    ];
    for case in golden["clip"]["cases"].as_array().unwrap() {
        let norm = norm(&gradients).unwrap();
        close(norm, case["norm"].as_f64().unwrap(), "norm");
        let factor = clip_factor(norm, case["limit"].as_f64().unwrap());
        close(factor, case["factor"].as_f64().unwrap(), "factor");
    }
    for (name, case) in golden["optimisers"].as_object().unwrap() {
        let tensor = |value: &serde_json::Value| match value[0].is_array() {
            true => matrix(value),
            false => Tensor::from_slice(&numbers(value)),
        };
        let settings = Settings {
            rule: match name.starts_with("adamw") {
                true => Rule::AdamW,
                false => Rule::Lamb,
            },
            weight_decay: 0.1,
            betas: (0.9, 0.99),
            eps: 1e-6,
            trust_clip: name.starts_with("lamb_clipped"),
        };
        let p = tensor(&case["start"]).set_requires_grad(true);
        let parameters = [("p".to_string(), p.shallow_clone())];
        let mut optimiser = Optimiser::new(settings, 1);
        for step in case["steps"].as_array().unwrap() {
            let gradient = Some(tensor(&step["grad"]));
            optimiser.step(&parameters, &[gradient], 0.01).unwrap();
            let off = apart(&p.detach(), &tensor(&step["after"]));
            assert!(off < 1e-6, "{name}: {off:e}");
        }
    }
}

/// A parameter without a gradient stays as it is: no decay, no state.
#[test]
fn what_has_no_gradient_stays() {
    let p = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let parameters = [("w".to_string(), p.shallow_clone())];
    let settings = Settings {
        rule: Rule::AdamW,
        weight_decay: 0.5,
        betas: (0.9, 0.999),
        eps: 1e-8,
        trust_clip: false,
    };
    let mut optimiser = Optimiser::new(settings, 1);
    optimiser.step(&parameters, &[None], 0.1).unwrap();
    assert_eq!(p.sum(Kind::Float).double_value(&[]), 4.0);
    assert!(optimiser.states[0].is_none());
}
