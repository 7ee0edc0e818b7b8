//! The broker's stream: open as long as the host wants, with no streams to broker.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use stillpoint_proto::goplugin::{ConnInfo, conn_info::Knock, grpc_broker_server::GrpcBroker};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Answers knocks; learns of listeners of the host, of which no service of ours has a use.
pub(super) struct Broker {
    pub(super) stop: CancellationToken,
}

type Answers = Pin<Box<dyn Stream<Item = Result<ConnInfo, Status>> + Send>>;

#[tonic::async_trait]
impl GrpcBroker for Broker {
    type StartStreamStream = Answers;

    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Answers>, Status> {
        let stop = self.stop.clone().cancelled_owned();
        let answers = request
            .into_inner()
            .filter_map(|received| async { received.ok().and_then(answer).map(Ok) })
            .take_until(Box::pin(stop));
        Ok(Response::new(Box::pin(answers)))
    }
}

fn answer(received: ConnInfo) -> Option<ConnInfo> {
    let knock = received.knock.filter(|knock| knock.knock && !knock.ack)?;
    let error = "this plugin brokers no streams".to_owned();
    Some(ConnInfo {
        service_id: received.service_id,
        knock: Some(Knock {
            ack: true,
            error,
            ..knock
        }),
        ..ConnInfo::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knock_is_refused_politely() {
        let knock = Knock {
            knock: true,
            ..Knock::default()
        };
        let answer = answer(ConnInfo {
            service_id: 7,
            knock: Some(knock),
            ..ConnInfo::default()
        });
        let answer = answer.unwrap();
        let knock = answer.knock.unwrap();
        assert_eq!(answer.service_id, 7);
        assert!(knock.knock && knock.ack);
        assert!(!knock.error.is_empty());
    }

    #[test]
    fn listener_of_the_host_needs_no_answer() {
        let listener = ConnInfo {
            service_id: 1,
            network: "unix".into(),
            ..ConnInfo::default()
        };
        assert_eq!(answer(listener), None);
    }
}
