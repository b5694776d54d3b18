//! Runs a case: one request, or a sequence of steps.

mod values;

use std::{
    collections::BTreeMap,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tower_api_key::{
    ApiKey, KeyHasher, KeyId, KeyRecord, KeyRegistry,
    manage::{Rotation, UpdateKey},
};

use crate::{
    Failure,
    expect::{self, Named},
    policy::Unbuilt,
    store::{Fault, Gate, Speed, generate, permissions, record},
    world::{Site, World},
};
use values::{actor, described, grace, imported, request};

/// A running case.
struct Run {
    world: World,
    /// The results of steps, for `${name.member}`.
    results: BTreeMap<String, Value>,
    responses: Named,
    /// The prefix of generated keys.
    prefix: String,
    made: usize,
}

pub(crate) async fn run(case: &Value, speed: Speed) -> Result<(), Failure> {
    let steps: Vec<Value> = match case["steps"].as_array() {
        Some(steps) if !steps.is_empty() => steps.clone(),
        _ => vec![json!({"do": "request", "request": case["request"], "expect": case["expect"]})],
    };
    let gated = steps.iter().any(|step| step["do"] == "request_with_store_op_during");
    let gate = gated.then(Gate::default);
    let (case, secrets) = with_secrets(case)?;
    let world = match World::new(&case, speed, gate.as_ref()) {
        Ok(world) => world,
        Err(Unbuilt::NotUnderstood(failure)) => return Err(failure),
        Err(Unbuilt::Refused(_)) if may_be_refused(&case["expect"]) => return Ok(()),
        Err(Unbuilt::Refused(error)) => return Err(format!("refused to build: {error}")),
    };
    let prefix = prefix_of(&case);
    let mut run = Run { world, results: secrets, responses: Named::default(), prefix, made: 0 };
    for (number, step) in steps.iter().enumerate() {
        let step = run.substitute(step);
        run.step(&step, gate.as_ref()).await.map_err(|failure| format!("step {}: {failure}", number + 1))?;
    }
    Ok(())
}

/// Returns the case with a secret for every key that has none, and all secrets by the ids of their
/// keys.
fn with_secrets(case: &Value) -> Result<(Value, BTreeMap<String, Value>), Failure> {
    let mut case = case.clone();
    let prefix = prefix_of(&case);
    let mut secrets = BTreeMap::new();
    for key in case["keys"].as_array_mut().into_iter().flatten() {
        if ["secret", "secret_ref", "digest"].iter().all(|member| key[member].is_null()) {
            key["secret"] = generate(&prefix)?.expose().into();
        }
        let id = key["id"].as_str().unwrap_or_default().to_owned();
        secrets.insert(id, json!({"id": key["id"], "secret": key["secret"]}));
    }
    Ok((case, secrets))
}

fn may_be_refused(expect: &Value) -> bool {
    expect["build_error_ok"] == true || expect["build"] == "error"
}

pub(crate) fn prefix_of(case: &Value) -> String {
    case["policy"]["key_format"]["prefix"].as_str().unwrap_or("tak").to_owned()
}

impl Run {
    async fn step(&mut self, step: &Value, gate: Option<&Gate>) -> Result<(), Failure> {
        let site = self.site(step)?;
        match step["do"].as_str() {
            Some("request") => {
                let Some(request) = request(&step["request"])? else {
                    return Ok(()); // The type system refuses it, which counts as passing.
                };
                let begun = clock();
                let observed = site.call(request).await?;
                expect::check(&step["expect"], &observed, begun.elapsed(), &self.responses)?;
                if let Some(name) = step["name"].as_str().or(step["as"].as_str()) {
                    self.responses.insert(name.to_owned(), observed);
                }
                Ok(())
            }
            Some("request_with_store_op_during") => {
                let gate = gate.ok_or("no gate")?;
                let request = request(&step["request"])?.ok_or("not constructible")?;
                gate.armed.store(true, Ordering::Relaxed);
                let during = async {
                    // A request that is rejected before its lookup is not recorded.
                    let _ = tokio::time::timeout(Duration::from_mins(1), gate.entered.notified()).await;
                    let done = self.store_op(&step["op"], &site).await;
                    gate.release.notify_one();
                    done
                };
                let (observed, done) = tokio::join!(site.call(request), during);
                done?;
                expect::check(&step["expect"], &observed?, Duration::ZERO, &self.responses)
            }
            Some("store") => self.store_op(step, &site).await,
            Some("inspect") => self.inspect(step, &site).await,
            Some("parallel") if !step["expect"].is_null() => Err("parallel checks expect_counts alone".into()),
            Some("parallel") => parallel(step, &site).await,
            Some("cancel") => {
                let request = request(&step["request"])?.ok_or("not constructible")?;
                let patience = Duration::from_millis(step["after_ms"].as_u64().ok_or("after_ms")?);
                let answer = tokio::time::timeout(patience, site.respond(request)).await;
                match (answer, &site.store.fault) {
                    (Ok(response), Fault::Slow(_)) => Err(format!("answered {} in time", response?.status())),
                    _ if step["expect"].is_null() => Ok(()),
                    _ => Err("a cancelled request has no response to check".into()),
                }
            }
            other => Err(format!("unknown step {other:?}")),
        }
    }

    fn site(&self, step: &Value) -> Result<Site, Failure> {
        let name = step["layer"].as_str().unwrap_or_default();
        self.world.sites.get(name).cloned().ok_or(format!("no layer {name:?}"))
    }

    async fn store_op(&mut self, step: &Value, site: &Site) -> Result<(), Failure> {
        let id = step["id"].as_str().map(KeyId::from);
        let named = || id.clone().ok_or("an operation without an id");
        let mut result = Value::Null;
        let done = match step["op"].as_str() {
            Some("create") => {
                let made = self.create(step, site).await?;
                result = made.clone().unwrap_or_default();
                made.map(drop)
            }
            Some("get") => {
                site.manager.flush().await.map_err(|error| error.to_string())?;
                let found = site.store.get(&named()?).await.map_err(|error| error.to_string())?;
                result = found.as_ref().map(described).unwrap_or_default();
                if let (Some(limits), Some(record)) = (&site.limits, &found) {
                    result["remaining"] = limits.remaining(record).into();
                }
                found.map(drop).ok_or_else(|| "no such key".to_owned())
            }
            Some("list") => {
                site.manager.flush().await.map_err(|error| error.to_string())?;
                result = site.store.all().await.iter().map(described).collect();
                Ok(())
            }
            Some("remove_owner") => {
                let owner = step["owner"].as_str().ok_or("remove_owner without an owner")?;
                site.store.remove_everywhere(owner).await;
                Ok(())
            }
            Some("advance_clock") => {
                let seconds = step["seconds"].as_f64().ok_or("advance_clock without seconds")?;
                self.world.advance(Duration::from_secs_f64(seconds));
                Ok(())
            }
            Some(operation) => {
                let managed = self.manage(operation, named()?, step, site).await;
                result = managed.clone().unwrap_or_default();
                managed.map(drop)
            }
            None => return Err("a step without an operation".into()),
        };
        if let Some(name) = step["as"].as_str() {
            self.results.insert(name.to_owned(), result);
        }
        match (done, step["expect_error"] == true) {
            (Ok(()), false) | (Err(_), true) => Ok(()),
            (Ok(()), true) => Err("the store should have rejected it".into()),
            (Err(error), false) => Err(error),
        }
    }

    async fn create(&mut self, step: &Value, site: &Site) -> Result<Result<Value, String>, Failure> {
        let secret = match step["secret"].as_str() {
            Some(text) => ApiKey::new(text).map_err(|error| error.to_string())?,
            None => generate(&self.prefix)?,
        };
        self.made += 1;
        let mut key = step.clone();
        for member in ["do", "op", "as", "expect_error", "layer"] {
            key.as_object_mut().ok_or("a step that is no object")?.remove(member);
        }
        if key["id"].is_null() {
            key["id"] = format!("made-{}", self.made).into();
        }
        let record = record(&key, &secret, self.world.wildcards, self.world.now())?;
        site.store.note(&record);
        let mut made = described(&record);
        made["secret"] = secret.expose().into();
        let inserted = site.store.insert(record, None, None).await.map_err(|error| error.to_string())?;
        Ok(inserted.map(|()| made).map_err(|refusal| refusal.to_string()))
    }

    /// Runs a manager's operation on a key, for an actor with all permissions of the key.
    async fn manage(&self, operation: &str, id: KeyId, step: &Value, site: &Site) -> Result<Value, String> {
        let manager = &site.manager;
        let stored = site.store.get(&id).await.map_err(|error| error.to_string())?;
        let stored = stored.ok_or_else(|| format!("there is no key {id}"))?;
        let asked = permissions(&step["grants"], self.world.wildcards)?;
        let actor = actor(&stored, &asked);
        let changed = match operation {
            "revoke" => manager.revoke(&actor, id).await,
            "delete" => manager.remove(&actor, id).await,
            "disable" => manager.disable(&actor, id).await,
            "enable" => manager.enable(&actor, id).await,
            "set_grants" => manager.edit(&actor, id, UpdateKey::new().permissions(asked)).await,
            "rotate" if step["new_secret"].is_string() => return self.rotate_to(&stored, step, site).await,
            "rotate" => {
                let grace = grace(step);
                let issued = match grace {
                    Some(grace) => manager.rotate(&actor, id, Rotation::grace_period(grace)).await,
                    None => manager.regenerate(&actor, id).await,
                };
                let issued = issued.map_err(|error| error.to_string())?;
                let mut described = described(issued.record());
                described["secret"] = issued.key().expose().into();
                return Ok(described);
            }
            other => return Err(format!("unknown operation {other}")),
        };
        changed.as_ref().map(described).map_err(ToString::to_string)
    }

    /// Gives a record the secret that the case names, in one step. Without a grace period, the
    /// record itself takes the new secret and the old one ends. With one, both work: an imported
    /// record replaces the old one and is known to the case under the old id.
    async fn rotate_to(&self, stored: &KeyRecord, step: &Value, site: &Site) -> Result<Value, String> {
        let secret = ApiKey::new(step["new_secret"].as_str().unwrap_or_default()).map_err(|error| error.to_string())?;
        let digest = KeyHasher::sha256().digest(&secret);
        let mut rotated = match grace(step) {
            None => {
                let changed = site.store.rehash(stored.id(), stored.digest(), &digest, None).await;
                let changed = changed.map_err(|error| error.to_string())?;
                described(&changed.map_err(|refusal| refusal.to_string())?)
            }
            Some(grace) => {
                let new_id = format!("{} with a new secret", stored.id());
                let new = imported(stored, &new_id, digest);
                let end = self.world.now() + grace;
                let old = stored.clone().with_expires_at(stored.expires_at().map_or(end, |own| own.min(end)));
                let replaced = site.store.replace(old.with_replaced_by(new_id.as_str()), new.clone(), None).await;
                replaced.map_err(|error| error.to_string())?.map_err(|refusal| refusal.to_string())?;
                described(&new)
            }
        };
        rotated["secret"] = secret.expose().into();
        Ok(rotated)
    }

    /// Searches a named result, or all log lines and responses so far.
    async fn inspect(&self, step: &Value, site: &Site) -> Result<(), Failure> {
        let name = step["of"].as_str().ok_or("inspect without of")?;
        let found = self.result(name);
        let shown = match (&found, name) {
            (Some(result), _) => result.to_string(),
            (None, "log" | "logs" | "events" | "responses") => site.transcript.lock().unwrap().clone(),
            (None, "store") => site.shown().await,
            (None, _) => match self.responses.get(name) {
                Some(seen) => format!("{:?} {}", seen.headers, String::from_utf8_lossy(&seen.body)),
                None => return Err(format!("nothing named {name}")),
            },
        };
        for (member, value) in step.as_object().into_iter().flatten() {
            match member.as_str() {
                "do" | "of" => {}
                "expect" => expect::result(value, found.unwrap_or(&Value::Null))?,
                "must_not_contain" => expect::must_not_contain(&shown, value)?,
                _ => return Err(format!("inspect with an unknown {member}")),
            }
        }
        Ok(())
    }

    /// Returns a named result, or a member of one: `made.record`.
    fn result(&self, name: &str) -> Option<&Value> {
        self.results.get(name).or_else(|| {
            let (of, member) = name.rsplit_once('.')?;
            self.results.get(of)?.get(member)
        })
    }

    /// Replaces `${name.member}` with the results of earlier steps.
    fn substitute(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let mut text = text.clone();
                for (name, result) in &self.results {
                    for (member, value) in result.as_object().into_iter().flatten() {
                        let value = value.as_str().unwrap_or_default();
                        text = text.replace(&format!("${{{name}.{member}}}"), value);
                    }
                }
                Value::String(text)
            }
            Value::Array(items) => items.iter().map(|item| self.substitute(item)).collect(),
            Value::Object(members) => {
                let members = members.iter();
                members.map(|(name, value)| (name.clone(), self.substitute(value))).collect()
            }
            other => other.clone(),
        }
    }
}

async fn parallel(step: &Value, site: &Site) -> Result<(), Failure> {
    let count = step["count"].as_u64().ok_or("parallel without a count")?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let request = request(&step["request"])?.ok_or("not constructible")?;
        let site = site.clone();
        tasks.spawn(async move { site.respond(request).await });
    }
    let mut counts = BTreeMap::<String, u64>::new();
    for response in tasks.join_all().await {
        *counts.entry(response?.status().as_u16().to_string()).or_default() += 1;
    }
    let expected = &step["expect_counts"];
    let listed = expected.as_object().ok_or("no counts")?.iter().filter(|(_, count)| **count != 0);
    let wanted: Value = listed.map(|(status, count)| (status.clone(), count.clone())).collect();
    if json!(counts) == wanted { Ok(()) } else { Err(format!("counted {counts:?}, not {expected}")) }
}

#[allow(clippy::disallowed_methods, reason = "a guard against hanging is timed for real")]
fn clock() -> Instant {
    Instant::now()
}
