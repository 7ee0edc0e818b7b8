//! Credentials and endpoints that are wrong: what is told, and what never is.

use stillpoint_system::cloud::Cloud;

use super::{log_in, reach, written};

const NOBODY: &str = "22222222-2222-2222-2222-222222222222";

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_variable_is_named_with_its_place_and_no_secret() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cloud-").display().to_string();
    let (tenant, client) = (
        &cloud.lab.endpoints().tenant,
        &cloud.lab.identity().client_id,
    );
    let secret = "AZURE_CLIENT_SECRET=hunter2\n";
    let set = |tenant: &str, client: &str| {
        format!("AZURE_TENANT_ID={tenant}\nAZURE_CLIENT_ID={client}\n")
    };
    for (lines, told) in [
        (
            format!("{}{secret}", set(tenant, client)),
            &["AADSTS7000215", "AZURE_CLIENT_SECRET is wrong", client][..],
        ),
        (
            format!("{}{secret}", set(NOBODY, client)),
            &["AADSTS90002", "AZURE_TENANT_ID", NOBODY],
        ),
        (
            format!("{}{secret}", set(tenant, NOBODY)),
            &["AADSTS700016", "AZURE_CLIENT_ID", NOBODY],
        ),
        (
            format!("{}{secret}", set("../x", client)),
            &["AZURE_TENANT_ID=`../x`", "GUID"],
        ),
        (
            format!("AZURE_CLIENT_ID={client}\n{secret}"),
            &["AZURE_TENANT_ID is not set"],
        ),
        (
            format!("AZURE_TENANT_ID={tenant}\n{secret}"),
            &["AZURE_CLIENT_ID is not set"],
        ),
        (
            "AZURE_CLIENT_CERTIFICATE_PATH=/c.pem\n".into(),
            &["AZURE_TENANT_ID is not set"],
        ),
        (
            format!(
                "AZURE_USERNAME=jane\nAZURE_PASSWORD=hunter2\n{}",
                set(tenant, client)
            ),
            &["AZURE_USERNAME", "AZURE_CLIENT_SECRET"],
        ),
        (
            format!(
                "AZURE_CLOUD_NAME=AzureMoonCloud\n{}{secret}",
                set(tenant, client)
            ),
            &[
                "AZURE_CLOUD_NAME=`AzureMoonCloud`",
                "AzureChinaCloud",
                "AzureUSGovernmentCloud",
            ],
        ),
        (
            "AZURE_CLIENT_ID=c\nhunter2\n".into(),
            &["line 4", "NAME=VALUE"],
        ),
    ] {
        let answer = log_in(&cloud, &plugin, directory.path(), &lines).await;
        let error = answer.unwrap_err();
        for part in told.iter().chain([&&*file]) {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        assert!(!error.message().contains("hunter2"), "{error}");
    }
    let logged = format!("{:?}", plugin.logs().entries());
    assert!(!logged.contains("hunter2"), "a secret was logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told_with_where_it_was_looked_for() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let nowhere = [("credentialsFile", "/nowhere/cloud")];
    let folder = [("credentialsFile", directory.path().to_str().unwrap())];
    let subscription = &cloud.lab.endpoints().subscription;
    let without = |name: &str| {
        let all = cloud.lab.credentials_file();
        let lines: Vec<_> = all.lines().filter(|line| !line.starts_with(name)).collect();
        let path = written(directory.path(), name, lines.join("\n"));
        path.display().to_string()
    };
    let (no_subscription, no_group) = (
        without("AZURE_SUBSCRIPTION_ID"),
        without("AZURE_RESOURCE_GROUP"),
    );
    let placeless = |file| {
        vec![
            ("credentialsFile", file),
            ("subscriptionId", ""),
            ("resourceGroup", ""),
        ]
    };
    for (more, told) in [
        (
            nowhere.to_vec(),
            &["/nowhere/cloud", "`credentialsFile`", "No such file"][..],
        ),
        (folder.to_vec(), &["`credentialsFile`", "directory"]),
        (
            placeless(&no_subscription),
            &[
                "AZURE_SUBSCRIPTION_ID is not set",
                "`subscriptionId`",
                &no_subscription,
            ],
        ),
        (
            placeless(&no_group),
            &[
                "AZURE_RESOURCE_GROUP is not set",
                "`resourceGroup`",
                &no_group,
            ],
        ),
        (
            vec![("credentialsFile", &no_group)],
            &["AZURE_RESOURCE_GROUP", "`targetResourceGroup`"],
        ),
        (
            vec![("credentialsFile", "")],
            &["AZURE_RESOURCE_GROUP", "credentials file"],
        ),
    ] {
        let error = reach(&cloud, &plugin, &more).await.unwrap_err();
        for part in told {
            assert!(error.message().contains(part), "{part} in {error}");
        }
    }
    let target = [
        ("credentialsFile", &*no_group),
        ("targetResourceGroup", "Stillpoint-Lab"),
        ("targetSubscriptionId", subscription),
    ];
    let error = reach(&cloud, &plugin, &target).await.unwrap_err();
    assert!(
        error.message().contains("ResourceNotFound"),
        "it got through: {error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_does_where_no_file_is_named() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    cloud.lab.create_disk(&cloud.premium("d")).unwrap();
    let named = cloud.lab.endpoints().credentials_file.clone();
    let host = Cloud::host()
        .unwrap()
        .variable("AZURE_CREDENTIALS_FILE", named);
    let by_file = host.start().await.unwrap();
    let all = cloud.lab.credentials_file();
    let variables = all.lines().filter_map(|line| line.split_once('='));
    let host = variables.fold(Cloud::host().unwrap(), |host, (name, value)| {
        host.variable(name, value)
    });
    let ca = cloud.lab.endpoints().ca_file.clone();
    let by_variables = host.variable("SSL_CERT_FILE", ca).start().await.unwrap();
    reach(&cloud, &by_file, &[("credentialsFile", "")])
        .await
        .unwrap();
    let bare = [
        ("credentialsFile", ""),
        ("subscriptionId", ""),
        ("resourceGroup", ""),
        ("caCert", ""),
    ];
    reach(&cloud, &by_variables, &bare).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_be_reached_or_trusted_is_named() {
    let Some(cloud) = Cloud::start().await.unwrap() else {
        return;
    };
    let plugin = cloud.plugin().await.unwrap();
    let closed = "https://127.0.0.1:9";
    let lab = cloud.lab.endpoint().to_owned();
    let key = rcgen::KeyPair::generate().unwrap();
    let other = rcgen::CertificateParams::new(vec!["other".to_owned()]).unwrap();
    let other = other.self_signed(&key).unwrap().pem();
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    for (more, told) in [
        (
            ("activeDirectoryAuthorityURI", closed),
            &[closed, "`activeDirectoryAuthorityURI`"][..],
        ),
        (
            ("activeDirectoryAuthorityURI", "https://login.invalid"),
            &["https://login.invalid", "`activeDirectoryAuthorityURI`"],
        ),
        (
            ("resourceManagerEndpoint", closed),
            &[closed, "`resourceManagerEndpoint`"],
        ),
        (
            ("resourceManagerEndpoint", "https://arm.invalid"),
            &["arm.invalid", "`resourceManagerEndpoint`"],
        ),
        (("caCert", &other), &[&lab, "`caCert`", "UnknownIssuer"]),
        (("caCert", ""), &[&lab, "`caCert`"]),
        (("caCert", garbled), &["`caCert`", "PEM"]),
        (
            ("caCert", "/etc/ssl/ca.pem"),
            &["`caCert`", "/etc/ssl/ca.pem", "PEM"],
        ),
    ] {
        let begun = std::time::Instant::now();
        let error = reach(&cloud, &plugin, &[more]).await.unwrap_err();
        for part in told {
            assert!(error.message().contains(part), "{part} in {error}");
        }
        assert!(begun.elapsed().as_secs() < 5, "apiTimeout is 1s: {error}");
    }
}
