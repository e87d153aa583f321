//! The examples do what they say.

#[allow(dead_code, reason = "`main` is for the command line")]
#[path = "../examples/custom_provider.rs"]
mod custom_provider;

#[tokio::test]
async fn custom_provider_shares_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let requests = custom_provider::run(folder.path()).await.unwrap();
    assert_eq!(requests, [1, 0], "the second worker reads what the first one stored");

    // Both workers are gone and the copy is still there, for the next one to lead with.
    let next = custom_provider::FolderStore::new(folder.path()).unwrap();
    assert!(next.should_fetch_flag_definitions().unwrap());
    let copy = next.get_flag_definitions().unwrap().unwrap();
    assert_eq!(copy.raw_json(), custom_provider::DEFINITIONS);
}
