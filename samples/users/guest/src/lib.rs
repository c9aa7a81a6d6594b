//! A mapper over user records. Its functions are exported by the world itself, and it imports nothing.

wit_bindgen::generate!({ world: "mapper" });

struct Mapper;

export!(Mapper);

impl Guest for Mapper {
    fn transform_users(users: Vec<User>) -> Vec<UserView> {
        users.into_iter().map(view).collect()
    }

    fn filter_active(users: Vec<User>) -> Vec<User> {
        users.into_iter().filter(|user| user.active).collect()
    }

    fn find_user(users: Vec<User>, id: u32) -> Result<User, String> {
        users
            .into_iter()
            .find(|user| user.id == id)
            .ok_or_else(|| format!("no user with id {id}"))
    }
}

fn view(user: User) -> UserView {
    let display = if user.tags.is_empty() {
        user.name.clone()
    } else {
        format!("{} ({})", user.name, user.tags.join(", "))
    };
    let tag_count = u32::try_from(user.tags.len()).expect("a list that fits a 32-bit memory");
    UserView {
        id: user.id,
        name: user.name,
        tags: user.tags,
        active: user.active,
        display,
        tag_count,
    }
}
