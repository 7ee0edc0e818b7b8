//! Asynchronous operations: what `Azure-AsyncOperation` and `Location` lead to.

use http::StatusCode;
use serde_json::{Value, json};

use super::{context::Context, refusal::Refusal, views};
use crate::{Kind, Moment, ResourceId, web::Answer, world::World};

/// An operation. The lab forgets none.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) location: String,
    pub(crate) target: ResourceId,
    pub(crate) deletes: bool,
    pub(crate) retry_after: Option<u32>,
    pub(crate) started: Moment,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Running,
    Succeeded {
        at: Moment,
        output: Option<Value>,
    },
    Failed {
        at: Moment,
        code: String,
        message: String,
    },
}

/// Which of its two addresses an operation is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `Azure-AsyncOperation`: a status document.
    Status,
    /// `Location`: 202, then the resource.
    Monitor,
}

/// A new operation on `target`.
pub(crate) fn begin(
    world: &mut World,
    started: Moment,
    target: &ResourceId,
    location: &str,
    deletes: bool,
    retry_after: Option<u32>,
) -> String {
    let id = uuid::Uuid::new_v4().to_string();
    let operation = Operation {
        id: id.clone(),
        location: location.into(),
        target: target.clone(),
        deletes,
        retry_after,
        started,
        outcome: Outcome::Running,
    };
    world.operations.insert(id.clone(), operation);
    id
}

/// Ends an operation well; what its target is now is kept as its output.
pub(crate) fn succeed(world: &mut World, id: &str, at: Moment) {
    let Some(operation) = world.operations.get(id) else {
        return;
    };
    let output = if operation.deletes {
        None
    } else {
        view(world, &operation.target)
    };
    if let Some(operation) = world.operations.get_mut(id) {
        operation.outcome = Outcome::Succeeded { at, output };
    }
}

/// Ends an operation badly.
pub(crate) fn fail(world: &mut World, id: &str, at: Moment, code: &str, message: &str) {
    if let Some(operation) = world.operations.get_mut(id) {
        operation.outcome = Outcome::Failed {
            at,
            code: code.into(),
            message: message.into(),
        };
    }
}

fn view(world: &World, target: &ResourceId) -> Option<Value> {
    match target.kind {
        Kind::Disk => world.disks.get(&target.key()).map(views::disk),
        Kind::Snapshot => world.snapshots.get(&target.key()).map(views::snapshot),
        Kind::DiskEncryptionSet
        | Kind::DiskAccess
        | Kind::VirtualMachine
        | Kind::StorageAccount => None,
    }
}

/// The 202 (or other) answer that starts `operation`.
pub(crate) fn accepted(
    context: &Context<'_>,
    status: StatusCode,
    id: &str,
    body: Option<Value>,
) -> Answer {
    let Some(operation) = context.world.operations.get(id) else {
        return Answer::empty(status);
    };
    let answer = Answer {
        status,
        headers: vec![
            (
                "azure-asyncoperation",
                address(context, operation, Form::Status),
            ),
            ("location", address(context, operation, Form::Monitor)),
        ],
        body,
    };
    with_retry_after(answer, operation)
}

fn with_retry_after(answer: Answer, operation: &Operation) -> Answer {
    match operation.retry_after {
        Some(seconds) => answer.header("retry-after", seconds.to_string()),
        None => answer,
    }
}

fn address(context: &Context<'_>, operation: &Operation, form: Form) -> String {
    let base = context.call.base();
    let Operation {
        id,
        location,
        target,
        ..
    } = operation;
    let subscription = &target.subscription;
    let monitor = if form == Form::Monitor {
        "&monitor=true"
    } else {
        ""
    };
    let version = context.version;
    // Azure signs these addresses (t, c, s, h); a client must use them as they are.
    format!(
        "{base}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/DiskOperations/{id}\
         ?p=5e3a8b46-0000-4a5c-9d1e-{tail}{monitor}&api-version={version}&t=1&s={tail}",
        tail = &id[24..],
    )
}

/// GET of an operation.
pub(crate) fn get(context: &Context<'_>, location: &str, id: &str) -> Result<Answer, Refusal> {
    let operation = context
        .world
        .operations
        .get(&id.to_ascii_lowercase())
        .ok_or(Refusal::Operation)?;
    let form = if context.call.parameter("monitor") == Some("true") {
        Form::Monitor
    } else {
        Form::Status
    };
    // Without its signature an address is not one that Azure gave out.
    let signed = context.call.parameter("s") == Some(&operation.id[24..]);
    let here = operation.location.eq_ignore_ascii_case(location)
        && operation
            .target
            .subscription
            .eq_ignore_ascii_case(context.subscription);
    if !signed || !here {
        return Err(Refusal::Operation);
    }
    Ok(match form {
        Form::Status => status(operation),
        Form::Monitor => monitor(context, operation),
    })
}

fn status(operation: &Operation) -> Answer {
    let started = operation.started.to_string();
    let name = &operation.id;
    let body = match &operation.outcome {
        Outcome::Running => json!({"startTime": started, "status": "InProgress", "name": name}),
        Outcome::Succeeded { at, output } => {
            let mut body =
                json!({"startTime": started, "endTime": at.to_string(), "status": "Succeeded"});
            if let Some(output) = output {
                body["properties"] = json!({"output": output});
            }
            body["name"] = json!(name);
            body
        }
        Outcome::Failed { at, code, message } => json!({
            "startTime": started, "endTime": at.to_string(), "status": "Failed",
            "error": {"code": code, "message": message}, "name": name,
        }),
    };
    let answer = Answer::json(StatusCode::OK, &body);
    match operation.outcome {
        Outcome::Running => with_retry_after(answer, operation),
        Outcome::Succeeded { .. } | Outcome::Failed { .. } => answer,
    }
}

fn monitor(context: &Context<'_>, operation: &Operation) -> Answer {
    match &operation.outcome {
        Outcome::Running => {
            let answer = Answer::empty(StatusCode::ACCEPTED)
                .header("location", address(context, operation, Form::Monitor));
            with_retry_after(answer, operation)
        }
        Outcome::Succeeded {
            output: Some(output),
            ..
        } => Answer::json(StatusCode::OK, output),
        Outcome::Succeeded { output: None, .. } => Answer::empty(StatusCode::OK),
        Outcome::Failed { code, message, .. } => Answer::json(
            StatusCode::CONFLICT,
            &json!({"error": {"code": code, "message": message}}),
        ),
    }
}
